"""Event streams: what is committed reaches every reader who may see it, once, in order, and again on request."""
