"""A client that stops reading is dropped; nobody else notices, and memory stays flat.

`python -m bench.realtime slow` does the same beside 1,000 readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.realtime_drills import Flood, stuck_reader
from tests.support.realtime import RealtimeSuite

_FLOOD = Flood(readers=100, events=900, events_per_s=150)


@pytest.fixture
def suite(tmp_path: Path, redis_url: str) -> Iterator[RealtimeSuite]:
    """A suite whose gateway keeps at most 64 KiB for one client."""
    settings = {
        "MEDFORALL_REALTIME_QUEUE_BYTES_MAX": "65536",
        "MEDFORALL_REALTIME_USER_CONNECTIONS_MAX": "200",
    }
    made = RealtimeSuite(tmp_path, redis_url, settings)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.slow
async def test_a_reader_that_stops_harms_nobody(suite: RealtimeSuite) -> None:
    """One of 101 readers stops: it is told why and dropped, the others hear as fast, memory does not grow."""
    alone = await stuck_reader(suite, _FLOOD, is_there=False)
    beside = await stuck_reader(suite, _FLOOD, is_there=True)
    print(alone, beside)  # noqa: T201
    assert beside.close_code == 4413
    assert beside.growth_bytes < 16 * 1_048_576
    assert beside.p99_s < max(3 * alone.p99_s, 0.25)
