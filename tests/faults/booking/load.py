"""Bookings one after another in several lanes, while a test breaks something beneath them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import TracebackType
from typing import Self

from tests.support.booking import Client, tried
from tests.support.practice import MONDAY, Practice, at
from tests.support.waiting import wait_until_async

QUARTERS_A_DAY, DAYS = 96, 5
_PAUSE_S = 0.05


class Load:
    """Lane n books provider, room and patient n, quarter of an hour after quarter of an hour, until the block ends.

    `heard` is every answer, `acknowledged` the id of every appointment that a caller was told of.
    """

    def __init__(self, client: Client, *, lanes: int) -> None:
        self.client = client
        self.heard: list[str] = []
        self.acknowledged: list[str] = []
        self._count = lanes
        self._stop = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._lanes = [asyncio.create_task(self._book(lane)) for lane in range(self._count)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await asyncio.gather(*self._lanes)

    async def more(self, count: int, *, timeout_s: float = 30.0) -> None:
        """Wait until so many more bookings are acknowledged."""
        goal = len(self.acknowledged) + count

        async def reached() -> bool:
            return len(self.acknowledged) >= goal or all(lane.done() for lane in self._lanes)

        await wait_until_async(reached, timeout_s=timeout_s, what=f"{count} more bookings")
        assert len(self.acknowledged) >= goal, self.heard[-5:]

    async def _book(self, lane: int) -> None:
        practice: Practice = self.client.practice
        for place in range(QUARTERS_A_DAY * DAYS):
            if self._stop.is_set():
                return
            reply, found = await tried(
                self.client.create(
                    _quarter(place),
                    end=_quarter(place + 1),
                    patient=lane,
                    provider_id=practice.providers[lane],
                    room_id=practice.rooms[lane],
                    timeout_s=10,
                )
            )
            self.heard.append(found)
            if reply is None:
                await asyncio.sleep(_PAUSE_S)
            else:
                self.acknowledged.append(reply.appointment.id)


def _quarter(place: int) -> str:
    day, quarter = divmod(place, QUARTERS_A_DAY)
    return at(quarter // 4, quarter % 4 * 15, MONDAY + timedelta(days=day))
