"""Fixtures of all tests: real servers, started once a session and only when a test asks for one."""

from collections.abc import Iterator

import pytest

from tests.support import servers as session_servers
from tests.support.budgets import pytest_runtest_logreport, pytest_terminal_summary  # noqa: F401 - hooks
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.servers import Servers


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        session_servers.announce_session()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        session_servers.end_session()


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the running suite share one worker, hence one suite (`--dist loadgroup`); so do other tests of a file.

    So do those that follow the shared NATS server under availability's one durable name: two processes of two workers
    would take each other's events.
    """
    for item in items:
        folders = set(item.path.parts)
        if {"e2e", "faults"} & folders:
            item.add_marker(pytest.mark.xdist_group("suite" if _runs_on_the_suite(item) else item.path.stem))
        elif {"integration", "availability"} <= folders:
            item.add_marker(pytest.mark.xdist_group("availability"))


def _runs_on_the_suite(item: pytest.Item) -> bool:
    """Whether a test uses the one running suite of its worker, not one of its own file's."""
    known = item._fixtureinfo.name2fixturedefs.get("suite", ())  # type: ignore[attr-defined]
    return any(found.scope == "session" for found in known[-1:])


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The session's PostgreSQL, NATS and Valkey; all workers share them, so name what you make uniquely."""
    return session_servers.obtain()


@pytest.fixture(scope="session")
def postgres_url(servers: Servers) -> str:
    """Superuser URL of the session's PostgreSQL 18 (database `postgres`)."""
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
