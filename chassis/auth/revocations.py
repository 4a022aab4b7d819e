"""Tokens and users that are shut out before their tokens end; kept in Redis for as long as those could live."""

from __future__ import annotations

from collections.abc import Iterable

from chassis.auth.principal import Principal
from chassis.cache import AsyncCache

_PREFIX = "revoked:"


class Revocations:
    """Notes who is shut out, and tells. Every method raises Unavailable while Redis is away."""

    def __init__(self, cache: AsyncCache) -> None:
        self._cache = cache

    async def revoke_token(self, token_id: str, ttl_s: int) -> None:
        """Shut out one token (`jti`) for `ttl_s`, its remaining life."""
        await self._cache.call(lambda redis: redis.set(_token_key(token_id), "1", ex=max(1, ttl_s)))

    async def revoke_user(self, clinic_id: str, subject: str, ttl_s: int) -> None:
        """Shut out every token of a user of a clinic for `ttl_s`, or until `restore_user`."""
        await self._cache.call(lambda redis: redis.set(_user_key(clinic_id, subject), "1", ex=max(1, ttl_s)))

    async def restore_user(self, clinic_id: str, subject: str) -> None:
        """Let a user in again."""
        await self._cache.call(lambda redis: redis.delete(_user_key(clinic_id, subject)))

    async def revoked(self, principals: Iterable[Principal]) -> set[Principal]:
        """The ones of `principals` that are shut out."""
        asked = list(dict.fromkeys(principals))
        if not asked:
            return set()
        keys = [key for principal in asked for key in _keys(principal)]
        marks = await self._cache.call(lambda redis: redis.mget(keys))
        return {
            principal
            for principal, by_token, by_user in zip(asked, marks[::2], marks[1::2], strict=True)
            if by_token is not None or by_user is not None
        }


def _keys(principal: Principal) -> tuple[str, str]:
    return _token_key(principal.token_id or ""), _user_key(principal.clinic_id, principal.subject)


def _token_key(token_id: str) -> str:
    return f"{_PREFIX}token:{token_id}"


def _user_key(clinic_id: str, subject: str) -> str:
    return f"{_PREFIX}user:{clinic_id}:{subject}"
