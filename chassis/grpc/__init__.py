"""gRPC servers and clients, and the context of the call that is being served."""
