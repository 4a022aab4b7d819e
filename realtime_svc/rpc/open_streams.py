"""The streams that are open: ended when the process stops, or when a caller is shut out."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from chassis.auth.principal import Principal
from chassis.auth.revocations import Revocations
from realtime_svc.readers import Outbox
from scheduling.errors import Unauthenticated, Unavailable

_log = structlog.get_logger(__name__)


class OpenStreams:
    """Knows every open stream and whose it is."""

    name = "streams"

    def __init__(self, revocations: Revocations, *, check_s: float) -> None:
        self._revocations = revocations
        self._check_s = check_s
        self._open: dict[Outbox[Any], Principal | None] = {}
        self._is_stopping = False

    def add(self, outbox: Outbox[Any], caller: Principal | None = None) -> None:
        """Know of a stream until `remove`; `caller` is whose token must stay good."""
        self._open[outbox] = caller
        if self._is_stopping:
            outbox.end()

    def remove(self, outbox: Outbox[Any]) -> None:
        """Forget a stream."""
        self._open.pop(outbox, None)

    async def check(self, caller: Principal) -> None:
        """Raise Unauthenticated for a caller who is shut out."""
        try:
            revoked = await self._revocations.revoked([caller])
        except Unavailable:
            # The regular check finds it as soon as it can be known.
            _log.warning("streams.revocations_unknown")
            return
        if revoked:
            raise Unauthenticated("The token was revoked.")

    async def run(self) -> None:
        """End the streams of callers who are shut out; hand it to a supervisor. Raises Unavailable."""
        while True:
            await asyncio.sleep(self._check_s)
            callers = {caller for caller in self._open.values() if caller is not None}
            revoked = await self._revocations.revoked(callers)
            for outbox, caller in tuple(self._open.items()):
                if caller in revoked:
                    outbox.end(Unauthenticated("The token was revoked."))

    async def start(self) -> None:
        """Do nothing: `run` is supervised."""

    async def stop(self) -> None:
        """End every stream with UNAVAILABLE: its reader connects elsewhere and resumes."""
        self._is_stopping = True
        for outbox in tuple(self._open):
            outbox.end()
