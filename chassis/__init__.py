"""How every medforall process runs; nothing in here knows what an appointment is.

==================  ================================================================================
config, settings    settings as frozen dataclasses read once from the environment, and the shared groups
lifecycle           a process as an ordered list of services: start, signals, bounded drain, exit codes
supervisor, leases  background loops that are restarted; work that runs once across instances
clock               the system's clock with an offset that tests set
logging, redaction  JSON lines in one format, patient data taken out before and after formatting exceptions
metrics, tracing    Prometheus on a port of its own; W3C trace context everywhere, OpenTelemetry if configured
auth/               principals, JWT verification against a JWKS, keys and tokens for development and tests
grpc/               aio and synchronous servers, channels, TLS, health, the context of a call
interceptors/       what happens around every call: one pure core a concern, adapters for aio and threads
encryption          AES-256-GCM envelopes and keyed hashes; master_keys holds the key providers
search_terms        the normal forms that searchable values are hashed in
bus, streams        NATS JetStream: connecting, the streams, publishing
consumers, pull     durable and ordered readers of streams
cache, breaker      Redis with bounded waits and a circuit breaker
flags, failpoints   feature flags; crash points that only the environment `test` accepts
==================  ================================================================================
"""
