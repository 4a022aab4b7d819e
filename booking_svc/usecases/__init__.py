"""What the service does, one file a use case; no stubs and no gRPC in here."""
