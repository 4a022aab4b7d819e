"""One realtime suite for all tests of this folder; each test makes clinics of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.realtime import Clinic, Events, RealtimeSuite


@pytest.fixture(scope="module")
def suite(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> Iterator[RealtimeSuite]:
    """NATS, realtime_svc and gateway, running; with a module's own SETTINGS, where it has some."""
    settings = {
        "MEDFORALL_REVOCATION_CHECK_MS": "300",
        # More than the contract lets one `Join` name.
        "MEDFORALL_REALTIME_CLINIC_CHANNELS_MAX": "20000",
        **getattr(request.module, "SETTINGS", {}),
    }
    made = RealtimeSuite(Path(tmp_path_factory.mktemp("realtime")), redis_url, settings)
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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the services' last lines beside a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    made = getattr(item, "funcargs", {}).get("suite")
    if report.failed and made is not None:
        for name in ("realtime_svc", "gateway"):
            report.sections.append((name, made.log(name)[-4_000:]))
