"""One-time tickets: what an EventSource, which can send no header, has in its address instead of a token."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any, Final

import orjson

from chassis.auth.principal import Principal, Role
from chassis.cache import AsyncCache
from scheduling.errors import Unauthenticated

TTL_S: Final = 30
_TICKET_CHARS_MAX: Final = 64


class Tickets:
    """Issues and redeems tickets in Redis; both raise Unavailable while it is away.

    A ticket stands for the token's claims, lives 30 s and opens one connection. Redis knows only its hash.
    """

    def __init__(
        self, cache: AsyncCache, new_ticket: Callable[[], str] = lambda: secrets.token_urlsafe(24)
    ) -> None:
        self._cache = cache
        self._new_ticket = new_ticket

    async def issue(self, principal: Principal) -> str:
        """A ticket for `principal`."""
        ticket = self._new_ticket()
        claims = orjson.dumps(_claims(principal))
        await self._cache.call(lambda redis: redis.set(_key(ticket), claims, ex=TTL_S, nx=True))
        return ticket

    async def redeem(self, ticket: str) -> Principal:
        """Whom the ticket stands for; it is used up. Raises Unauthenticated."""
        if len(ticket) > _TICKET_CHARS_MAX:
            raise Unauthenticated("The ticket is malformed.")
        claims = await self._cache.call(lambda redis: redis.getdel(_key(ticket)))
        if claims is None:
            raise Unauthenticated("The ticket was used, or is older than 30 s: get another one.")
        return _principal(orjson.loads(claims))


def _key(ticket: str) -> str:
    return f"sse:ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"


def _claims(principal: Principal) -> dict[str, Any]:
    return {
        "subject": principal.subject,
        "role": str(principal.role),
        "clinic_id": principal.clinic_id,
        "scopes": sorted(principal.scopes),
        "patient_id": principal.patient_id,
        "provider_id": principal.provider_id,
        "token_id": principal.token_id,
        "expires_at_s": principal.expires_at_s,
    }


def _principal(claims: dict[str, Any]) -> Principal:
    scopes = frozenset(claims.pop("scopes"))
    return Principal(role=Role(claims.pop("role")), scopes=scopes, **claims)
