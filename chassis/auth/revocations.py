"""Tokens and users that are shut out before their tokens end.

Redis keeps them, each until the last token that it concerns has ended. Services ask it directly about the few who
hold a stream open (`Revocations.revoked`), and follow the whole set for all other calls (`RevocationWatch`), so that
no call waits for Redis.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Gauge

from chassis.auth.principal import Principal
from chassis.cache import AsyncCache, hash_tag
from chassis.metrics import Metrics
from chassis.settings import AuthSettings
from chassis.tasks import end_tasks
from scheduling.errors import Exhausted, Reason, Unavailable

_log = structlog.get_logger(__name__)

MARKS_MAX = 10_000

# All in one slot of a cluster: they change together.
_MARKS = f"{hash_tag('revoked')}:marks"
_VERSION = f"{hash_tag('revoked')}:version"
_MEMORY = f"{hash_tag('revoked')}:memory"


def _new_version() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class State:
    """What Redis has: `memory` is another one after it lost everything, `version` after each change; else None."""

    memory: str | None
    version: str | None


class Revocations:
    """Notes who is shut out, and tells. Every method raises Unavailable while Redis is away.

    A mark names a token or a user and is good until an instant; at most 10,000 are kept, and one more is refused
    with Exhausted.
    """

    def __init__(
        self,
        cache: AsyncCache,
        now_s: Callable[[], float] = time.time,
        new_version: Callable[[], str] = _new_version,
    ) -> None:
        self._cache = cache
        self._now_s = now_s
        self._new_version = new_version

    async def revoke_token(self, token_id: str, ttl_s: int) -> None:
        """Shut out one token (`jti`) for `ttl_s`, its remaining life."""
        await self._mark(_token_mark(token_id), ttl_s)

    async def revoke_user(self, clinic_id: str, subject: str, ttl_s: int) -> None:
        """Shut out every token of a user of a clinic for `ttl_s`, or until `restore_user`."""
        await self._mark(_user_mark(clinic_id, subject), ttl_s)

    async def restore_user(self, clinic_id: str, subject: str) -> None:
        """Let a user in again."""
        await self._change(lambda pipe: pipe.zrem(_MARKS, _user_mark(clinic_id, subject)))

    async def revoked(self, principals: Iterable[Principal]) -> set[Principal]:
        """The ones of `principals` that are shut out at this moment."""
        asked = list(dict.fromkeys(principals))
        if not asked:
            return set()
        marks = [mark for principal in asked for mark in marks_of(principal)]
        untils = await self._cache.call(lambda redis: redis.zmscore(_MARKS, marks))
        now_s = self._now_s()
        return {
            principal
            for principal, *of_one in zip(asked, untils[::2], untils[1::2], strict=True)
            if any(until is not None and until > now_s for until in of_one)
        }

    async def state(self) -> State:
        """What changes whenever the marks do, and whenever Redis has forgotten them."""
        found: Any = await self._cache.call(lambda redis: redis.mget(_MEMORY, _VERSION))
        return State(*(None if raw is None else raw.decode() for raw in found))

    async def put_back(self, until_s: Mapping[str, float]) -> None:
        """Give Redis marks that it has forgotten, at least one; those it has stay."""
        await self._change(lambda pipe: pipe.zadd(_MARKS, dict(until_s), gt=True))

    async def marks(self) -> dict[str, float]:
        """Every mark that is still good, with the Unix second until which it is."""
        pairs: Any = await self._cache.call(
            lambda redis: redis.zrangebyscore(
                _MARKS, self._now_s(), "+inf", start=0, num=MARKS_MAX, withscores=True
            )
        )
        return {mark.decode(): until for mark, until in pairs}

    async def _mark(self, mark: str, ttl_s: int) -> None:
        now_s = self._now_s()
        if await self._cache.call(lambda redis: redis.zcount(_MARKS, now_s, "+inf")) >= MARKS_MAX:
            raise Exhausted(
                f"{MARKS_MAX} tokens and users are shut out already; rotate the signing key instead.",
                reason=Reason.OVERLOADED,
            )
        until_s = now_s + max(1, ttl_s)
        # A longer time that was given before stays.
        await self._change(lambda pipe: pipe.zadd(_MARKS, {mark: until_s}, gt=True))

    async def _change(self, change: Callable[[Any], Any]) -> None:
        async with self._cache.guard(), self._cache.client.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(_MARKS, "-inf", self._now_s())
            change(pipe)
            pipe.set(_MEMORY, self._new_version(), nx=True)
            pipe.set(_VERSION, self._new_version())
            await pipe.execute()


class Revoked:
    """Who is shut out, as this process knows it; memory only, and safe between threads."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._until_s: Mapping[str, float] = {}

    def marks(self) -> dict[str, float]:
        """The tokens and users this process knows of whose time is not over, with the Unix second when it is."""
        now_s = self._now_s()
        return {mark: until for mark, until in self._until_s.items() if until > now_s}

    def holds(self, principal: Principal) -> bool:
        """Whether `principal` is shut out."""
        until_s = self._until_s
        if not until_s:
            return False
        now_s = self._now_s()
        return any(until_s.get(mark, 0.0) > now_s for mark in marks_of(principal))

    def replace(self, until_s: Mapping[str, float]) -> None:
        """Know these marks from now on, and no others."""
        self._until_s = until_s


class RevocationWatch:
    """Keeps a `Revoked` as Redis has it: one small question every `every_s`, the marks when they have changed.

    While Redis is away what was known last stays, and when Redis has lost its memory the processes give it back:
    nobody who was shut out comes in because of a fault. A process that starts while Redis is away knows of nobody,
    says so in its log, and goes on: tokens are short-lived, clinics' work is not stopped for this.
    """

    name = "revocations"

    def __init__(
        self, revocations: Revocations, revoked: Revoked, *, every_s: float, read_at: Gauge | None = None
    ) -> None:
        self._revocations = revocations
        self._revoked = revoked
        self._every_s = every_s
        self._read_at = read_at
        self._state = State(None, None)
        self.is_blind = False
        """Whether the last look failed: what is known may be out of date."""
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what there is, and go on doing so."""
        self._is_stopped = False
        await self._look()
        self._task = asyncio.create_task(self._keep_looking(), name="revocations")

    async def stop(self) -> None:
        """Read no more."""
        self._is_stopped = True
        task, self._task = self._task, None
        if task is not None:
            await end_tasks(task)

    async def read(self) -> None:
        """Take over the marks if they have changed; give Redis back what it has forgotten. Raises Unavailable."""
        state = await self._revocations.state()
        if state == self._state:
            return
        lost = self._revoked.marks()
        if lost and state.memory != self._state.memory:
            await self._revocations.put_back(lost)
            _log.warning("revocations.put_back", known=len(lost))
            state = await self._revocations.state()
        self._revoked.replace(await self._revocations.marks())
        self._state = state

    async def _keep_looking(self) -> None:
        # A look may swallow the cancellation that ends it: the flag ends the loop then.
        while not self._is_stopped:
            await asyncio.sleep(self._every_s)
            await self._look()

    async def _look(self) -> None:
        try:
            await self.read()
        except Unavailable as error:
            if not self.is_blind:
                _log.warning(
                    "revocations.kept_as_known", reason=error.message, known=len(self._revoked.marks())
                )
            self.is_blind = True
            return
        self.is_blind = False
        if self._read_at is not None:
            self._read_at.set_to_current_time()


def build_watch(
    settings: AuthSettings, cache: AsyncCache, revoked: Revoked, metrics: Metrics
) -> RevocationWatch:
    """The watch of a process that has a cache already; start it after the cache."""
    read_at = metrics.gauge(
        "auth_revocations_read_timestamp_seconds", "When the revoked tokens were last known to be up to date."
    )
    every_s = settings.revocations_refresh_ms / 1_000
    return RevocationWatch(Revocations(cache), revoked, every_s=every_s, read_at=read_at)


def marks_of(principal: Principal) -> tuple[str, str]:
    """What may shut `principal` out: its token's id, and its user."""
    return _token_mark(principal.token_id or ""), _user_mark(principal.clinic_id, principal.subject)


def _token_mark(token_id: str) -> str:
    return f"token:{token_id}"


def _user_mark(clinic_id: str, subject: str) -> str:
    return f"user:{clinic_id}:{subject}"
