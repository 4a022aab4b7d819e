"""Which pages may open a realtime connection, and what may not stand in its address."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from gateway.messages import read_query
from gateway.problems import MalformedRequest

_TOKEN_NAMES: Final = frozenset({"token", "access_token", "accesstoken", "jwt", "authorization", "id_token"})
_JWT: Final = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", re.ASCII)


class OriginPolicy:
    """Pages of this server's own origin and of the configured ones; programs send no origin."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def allows(self, headers: Mapping[bytes, bytes], scheme: str) -> bool:
        """Whether the request comes from an allowed page, or from no page at all."""
        origin = headers.get(b"origin", b"").decode("latin-1").rstrip("/").lower()
        if not origin or origin in self._origins:
            return True
        host = headers.get(b"host", b"").decode("latin-1").lower()
        return bool(host) and origin == f"{'https' if scheme in ('https', 'wss') else 'http'}://{host}"


def refuse_token_in_address(query: bytes) -> dict[str, list[str]]:
    """The query's parameters.

    Raises MalformedRequest, also when a token is among them: addresses end in logs.
    """
    parameters = read_query(query)
    if _JWT.search(query.decode("latin-1")) or any(name.lower() in _TOKEN_NAMES for name in parameters):
        raise MalformedRequest(
            "A token must not stand in the address: send it in the first message, the Authorization header, "
            "or use a one-time ticket."
        )
    return parameters
