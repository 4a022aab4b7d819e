"""One realtime suite for all tests of this folder; each test makes clinics of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.realtime import Clinic, Events, RealtimeSuite


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[RealtimeSuite]:
    """NATS, realtime_svc and gateway, running."""
    made = RealtimeSuite(Path(tmp_path_factory.mktemp("realtime")), redis_url)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
async def events(suite: RealtimeSuite) -> AsyncIterator[Events]:
    """Publishes events."""
    async with suite.events() as publisher:
        await publisher.prepare()
        yield publisher


@pytest.fixture
def clinic() -> Clinic:
    """A clinic that nobody else uses."""
    return Clinic()
