"""The running suite: one for all tests of the session that ask for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.run_file import DemoFacts, RunFile
from tests.support.live_page import LiveServices
from tests.support.suites import running_suite


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFile]:
    """The parsed run.json of a suite with the demo clinics, rate limits off; started by `medforall up`."""
    home: Path = tmp_path_factory.mktemp("suite") / "home"
    with running_suite(home, environment={"MEDFORALL_RATE_LIMIT": "off"}) as facts:
        yield facts


@pytest.fixture(scope="session")
def demo(suite: RunFile) -> DemoFacts:
    """The ids of the suite's first demo clinic."""
    assert suite.demo is not None
    return suite.demo


@pytest.fixture(scope="session")
def live_services(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[LiveServices]:
    """What the tests of `/live` share; each puts a clinic of its own behind it."""
    made = LiveServices(tmp_path_factory.mktemp("live"), redis_url)
    try:
        made.suite.start()
        yield made
    finally:
        made.suite.stop()
