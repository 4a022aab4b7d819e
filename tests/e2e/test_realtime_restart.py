"""A gateway's restart under hundreds of idle sockets; `python -m bench.realtime restart` does it with 5,000."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.realtime_drills import restart
from tests.support.realtime import RealtimeSuite

_SOCKETS = 300


@pytest.fixture
def suite(tmp_path: Path, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite that this test may kill."""
    made = RealtimeSuite(tmp_path, redis_url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.slow
async def test_everybody_comes_back_and_has_missed_nothing(suite: RealtimeSuite) -> None:
    """300 sockets lose their gateway, come back spread over time, and resume: nothing missing, nothing twice."""
    found = await restart(suite, _SOCKETS)
    assert (found.wrong, found.resyncs) == (0, 0)
