"""A realtime suite for all tests that want no settings of their own; each test makes clinics of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.realtime import Clinic, Events, RealtimeSuite

_SETTINGS: Final = {
    "MEDFORALL_REVOCATION_CHECK_MS": "300",
    # More than the contract lets one `Join` name.
    "MEDFORALL_REALTIME_CLINIC_CHANNELS_MAX": "20000",
}


@contextmanager
def _running(directory: Path, redis_url: str, settings: dict[str, str]) -> Iterator[RealtimeSuite]:
    made = RealtimeSuite(directory, redis_url, _SETTINGS | settings)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def shared_suite(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[RealtimeSuite]:
    """The suite of all modules of this worker that have no SETTINGS of their own."""
    with _running(tmp_path_factory.mktemp("realtime"), redis_url, {}) as made:
        yield made


@pytest.fixture(scope="module")
def suite(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> Iterator[RealtimeSuite]:
    """NATS, realtime_svc and gateway, running; with a module's own SETTINGS, where it has some."""
    settings = getattr(request.module, "SETTINGS", None)
    if settings is None:
        shared: RealtimeSuite = request.getfixturevalue("shared_suite")
        shared.mend()
        yield shared
    else:
        with _running(tmp_path_factory.mktemp("realtime"), redis_url, settings) as made:
            yield made


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the services' last lines beside a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    made = getattr(item, "funcargs", {}).get("suite")
    if report.failed and made is not None:
        for name in ("realtime_svc", "gateway"):
            report.sections.append((name, made.log(name)[-4_000:]))
