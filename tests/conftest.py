"""Fixtures of all tests: real servers, started once a session and only when a test asks for one."""

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.support import servers as session_servers
from tests.support.budgets import pytest_runtest_logreport, pytest_terminal_summary  # noqa: F401 - hooks
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.groups import group_of
from tests.support.servers import Servers


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    _log_plainly()
    _keep_bytecode()
    _hear_interrupts()
    if not _is_worker(config):
        session_servers.announce_session()


def _log_plainly() -> None:
    """Log a failure's traceback as Python writes it: the pretty one takes most of a second, and tests provoke many."""
    *before, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, plain])


def _keep_bytecode() -> None:
    """Compile each module once: workers and the hundreds of processes that tests start import the same ones."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _hear_interrupts() -> None:
    """Let SIGINT mean what it means: a shell's background jobs ignore it, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        session_servers.end_session()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give workers what shares servers as a whole; see `group_of`."""
    return _Groups(config, log)


class _Groups(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The session's PostgreSQL, NATS and Valkey; all workers share them, so name what you make uniquely."""
    return session_servers.obtain()


@pytest.fixture(scope="session")
def postgres_url(servers: Servers) -> str:
    """Superuser URL of the session's PostgreSQL (database `postgres`)."""
    return servers.postgres_url


@pytest.fixture(scope="session")
def nats_url(servers: Servers) -> str:
    """URL of the session's NATS server, JetStream on."""
    return servers.nats_url


@pytest.fixture(scope="session")
def nats_monitor_url(servers: Servers) -> str:
    """Base URL of the NATS monitoring endpoints."""
    return servers.nats_monitor_url


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    """URL of the session's Valkey, database 0."""
    return servers.redis_url


@pytest.fixture
def database(postgres_url: str) -> Iterator[MigratedDatabase]:
    """A migrated, empty database for this test alone, with a URL for the owner and for each role."""
    with migrated_database(postgres_url) as made:
        yield made
