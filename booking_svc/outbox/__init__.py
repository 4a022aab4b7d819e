"""Events: made from a change inside its transaction, published to JetStream after it."""
