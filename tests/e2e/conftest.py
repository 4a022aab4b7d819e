"""The running suite: one for all tests of the session that ask for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.run_file import DemoFacts, RunFile
from tests.support.live_page import LiveServices
from tests.support.suites import Pasted, paste_what_was_printed_for, running_suite

_newcomers: dict[str, Pasted] = {}


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFile]:
    """The parsed run.json of a suite with the demo clinics, rate limits off; started by `medforall up`."""
    home: Path = tmp_path_factory.mktemp("suite") / "home"
    with running_suite(home, environment={"MEDFORALL_RATE_LIMIT": "off"}) as facts:
        _newcomers[facts.gateway_url] = paste_what_was_printed_for(facts)
        yield facts


@pytest.fixture
def newcomer(suite: RunFile) -> Pasted:
    """What the commands that `up` printed said when they were pasted.

    The slot that they book is free until somebody books it, so they are pasted before any test can do that.
    """
    return _newcomers[suite.gateway_url]


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
