"""The contract's service on top of hub, history and presence."""
