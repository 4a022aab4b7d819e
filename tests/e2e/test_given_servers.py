"""`medforall up` on servers that are not its own."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ctl.embedded import EmbeddedNats, EmbeddedPostgres, EmbeddedServer, EmbeddedValkey, start_server
from ctl.ports import free_port
from ctl.processes import ManagedProcess
from tests.support.suites import home_of, running_suite


@pytest.fixture
def given(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Three servers that somebody else runs, by the variables that name them."""
    postgres = EmbeddedPostgres(
        tmp_path / "postgres", port=free_port(), password="theirs", log_path=tmp_path / "postgres.log"
    )
    nats = EmbeddedNats(
        tmp_path / "nats",
        port=free_port(),
        monitor_port=free_port(),
        password="theirs",
        log_path=tmp_path / "nats.log",
    )
    valkey = EmbeddedValkey(
        tmp_path / "valkey", port=free_port(), password="theirs", log_path=tmp_path / "valkey.log"
    )
    servers: dict[str, EmbeddedServer] = {
        "MEDFORALL_DATABASE_URL": postgres,
        "MEDFORALL_NATS_URL": nats,
        "MEDFORALL_REDIS_URL": valkey,
    }
    running: list[ManagedProcess] = []
    try:
        running.extend(start_server(server) for server in servers.values())
        yield {variable: server.url for variable, server in servers.items()}
    finally:
        for process in running:
            process.stop()


@pytest.mark.slow
def test_given_servers_are_used_and_nothing_is_embedded(given: dict[str, str], tmp_path: Path) -> None:
    """The clinics are in the given database, no server is started or stopped, and the home holds no data."""
    home = tmp_path / "home"
    with running_suite(home, environment=given) as facts:
        assert facts.database_url == given["MEDFORALL_DATABASE_URL"]
        assert facts.nats_url == given["MEDFORALL_NATS_URL"]
        assert facts.redis_url == given["MEDFORALL_REDIS_URL"]
        assert not {"postgres", "nats", "valkey"} & set(facts.pids)
        assert not (home_of(facts).path / "postgres").exists()
    with psycopg.connect(given["MEDFORALL_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM clinic").fetchone() == (3,)
