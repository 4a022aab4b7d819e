"""The watch ends when it is told to, whatever it waits for."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

from availability_svc.projection.watch import Watch
from chassis.metrics import Metrics
from scheduling.errors import Unavailable


class AskedTogether:
    """What is looked at first: it answers in the moment in which the asking task is cancelled."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def check(self) -> None:
        self.asked.set()
        await asyncio.wait_for(self.answer, 10)
        raise Unavailable("The streams cannot be seen.")


async def test_an_answer_together_with_the_end_keeps_nobody_waiting() -> None:
    """Stopped in the moment of an answer, when `asyncio.wait_for` may forget the cancellation, it stops."""
    incarnations, anything = AskedTogether(), Mock()
    freshness: Any = Mock(stamp=lambda: Mock(age_ms=0))
    watch = Watch(
        anything, anything, anything, freshness, incarnations,  # type: ignore[arg-type]
        kept_back=anything, metrics=Metrics(), clock=anything,
    )  # fmt: skip
    await watch.start()
    await incarnations.asked.wait()
    incarnations.answer.set_result(None)
    async with asyncio.timeout(5):
        await watch.stop()
