"""Revocation asked for many connections at once: a storm of them costs a few questions, not one each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from chassis.auth.principal import Principal

_GATHER_S: Final = 0.005
_BATCH_MAX: Final = 500


class Revocations(Protocol):
    """Knows which tokens were revoked before they ended."""

    async def revoked(self, principals: Iterable[Principal]) -> set[Principal]:
        """The ones of `principals` whose token is revoked. Raises Unavailable."""
        ...


class RevocationChecks:
    """Gathers what is asked within 5 ms into one question."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._waiting: list[tuple[Principal, asyncio.Future[bool]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def is_revoked(self, principal: Principal) -> bool:
        """Whether the token is revoked. Raises Unavailable."""
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((principal, answered))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="realtime:revocation-checks")
        return await answered

    async def _ask(self) -> None:
        try:
            await asyncio.sleep(_GATHER_S)
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH_MAX], self._waiting[_BATCH_MAX:]
                await self._answer(batch)
        finally:
            self._asking = None

    async def _answer(self, batch: list[tuple[Principal, asyncio.Future[bool]]]) -> None:
        try:
            revoked = await self._revocations.revoked(principal for principal, _ in batch)
        except Exception as error:  # noqa: BLE001
            # Whatever went wrong, nobody may wait without end.
            for _, answered in batch:
                if not answered.done():
                    answered.set_exception(error)
            return
        for principal, answered in batch:
            if not answered.done():
                answered.set_result(principal in revoked)
