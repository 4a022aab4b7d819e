"""What the realtime benchmark runs on: embedded servers, small clinics, and the services in processes of their own."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg

from ctl.embedded import EmbeddedPostgres, EmbeddedValkey, start_server
from ctl.ports import free_port
from ctl.processes import ManagedProcess
from tests.support.booking import BookingProcess, Keys, booking_processes, environment_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import Practice, new_practice
from tests.support.realtime import RealtimeSuite

_PASSWORD = "bench-only"  # noqa: S105 - servers that live as long as the run


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """Valkey, running: its URL."""
    valkey = EmbeddedValkey(
        directory / "valkey", port=free_port(), password=_PASSWORD, log_path=directory / "valkey.log"
    )
    process = start_server(valkey)
    try:
        yield valkey.url
    finally:
        process.stop()


@contextmanager
def realtime_suite(redis_url: str, directory: Path, **settings: str) -> Iterator[RealtimeSuite]:
    """NATS, realtime_svc and gateway, running."""
    directory.mkdir()
    own = {"MEDFORALL_LOG_LEVEL": "warning", "MEDFORALL_REALTIME_USER_CONNECTIONS_MAX": "15000"}
    suite = RealtimeSuite(directory, redis_url, own | settings)
    try:
        suite.start()
        yield suite
    finally:
        suite.stop()


@dataclass(frozen=True, slots=True)
class BookingScene:
    """Realtime with a booking service in front of it, and clinics with a provider, a room, a service, a patient."""

    suite: RealtimeSuite
    database: MigratedDatabase
    booking: BookingProcess
    practices: Sequence[Practice]

    def committed_at(self) -> dict[str, float]:
        """When each appointment's transaction was committed: seconds since the epoch, as PostgreSQL noted it."""
        with psycopg.connect(self.database.owner_url) as owner:
            rows = owner.execute(
                "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM appointment"
            )
            return {str(id_): float(at_s) for id_, at_s in rows}


@contextmanager
def booking_scene(redis_url: str, directory: Path, clinics: int) -> Iterator[BookingScene]:
    """Everything that a booking's news goes through, from PostgreSQL to the gateway."""
    with ExitStack() as stack:
        suite = stack.enter_context(realtime_suite(redis_url, directory))
        postgres_url = stack.enter_context(_postgres(directory))
        database = stack.enter_context(migrated_database(postgres_url))
        practices = [new_practice(database, patients=1) for _ in range(clinics)]
        with psycopg.connect(database.owner_url, autocommit=True) as owner:
            owner.execute("VACUUM (ANALYZE)")
        environment = environment_of(database, Keys(directory / "keys"), suite.nats.url)
        environment |= {"MEDFORALL_JWKS": str(suite.jwks), "MEDFORALL_REDIS_URL": redis_url}
        (booking,) = stack.enter_context(booking_processes(environment, directory))
        yield BookingScene(suite, database, booking, practices)


@contextmanager
def _postgres(directory: Path) -> Iterator[str]:
    """PostgreSQL that notes when each transaction was committed: its URL."""
    server = EmbeddedPostgres(
        directory / "postgres", port=free_port(), password=_PASSWORD, log_path=directory / "postgres.log"
    )
    spec = server.prepare()
    noting = dataclasses.replace(spec, argv=[*spec.argv, "-c", "track_commit_timestamp=on"])
    process = ManagedProcess(noting)
    process.start()
    try:
        process.wait_ready()
        yield server.url
    finally:
        process.stop()


@contextmanager
def bare_server() -> Iterator[tuple[int, int]]:
    """The floor of a fan-out, running: its port and pid."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.realtime_bare", str(port)])
    try:
        deadline = time.monotonic() + 20
        while not _answers(port):
            assert time.monotonic() < deadline, "the bare server does not answer"
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 204
    except httpx.HTTPError:
        return False


def gateway_rss(suite: RealtimeSuite) -> int:
    """Memory of the gateway's process in bytes."""
    pid = suite.processes["gateway"].pid
    assert pid is not None
    return rss(pid)


def rss(pid: int) -> int:
    """Memory of a process in bytes."""
    return int(psutil.Process(pid).memory_info().rss)
