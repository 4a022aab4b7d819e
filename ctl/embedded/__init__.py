"""The three servers that come with the suite as wheels: PostgreSQL, NATS with JetStream, Valkey.

Each has a `prepare()` that makes its directory ready (and refuses one it must not touch) and returns the
`ProcessSpec` to run; nothing is started before that.
"""

from ctl.embedded.nats import EmbeddedNats
from ctl.embedded.postgres import EmbeddedPostgres
from ctl.embedded.server import EmbeddedServer, start_server
from ctl.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedNats", "EmbeddedPostgres", "EmbeddedServer", "EmbeddedValkey", "start_server"]
