"""What the booking benchmark runs on: embedded servers, one clinic with a lane for each client, and the service."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ctl.embedded import EmbeddedNats, EmbeddedPostgres, start_server
from ctl.ports import free_port
from tests.support.booking import BookingProcess, Client, Keys, booking_processes, environment_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import MONDAY, Practice, new_practice

LANES = 64
STEP_MIN = 30
_PASSWORD = "bench-only"  # noqa: S105 - servers that live as long as the run


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run has."""

    database: MigratedDatabase
    keys: Keys
    practice: Practice
    process: BookingProcess
    environment: dict[str, str]
    folder: Path
    postgres_pid: int

    def client(self, processes: Sequence[BookingProcess] = ()) -> Client:
        """A caller of these processes, of the first one unless others are given."""
        targets = [process.target for process in processes or [self.process]]
        return Client(targets, self.practice, self.keys.token(self.practice.clinic))

    def start(self, number: int) -> datetime:
        """The start of a lane's n-th booking; lanes have providers, rooms and patients of their own."""
        midnight = datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=UTC)
        return midnight + timedelta(minutes=STEP_MIN * number)


@contextmanager
def running() -> Iterator[Bench]:
    """Servers, a clinic and the service."""
    with tempfile.TemporaryDirectory(prefix="bench-booking-") as name:
        folder, servers = Path(name), []
        try:
            postgres = EmbeddedPostgres(
                folder / "postgres", port=free_port(), password=_PASSWORD, log_path=folder / "postgres.log"
            )
            servers.append(started := start_server(postgres))
            nats = EmbeddedNats(
                folder / "nats",
                port=free_port(),
                monitor_port=free_port(),
                password=_PASSWORD,
                log_path=folder / "nats.log",
            )
            servers.append(start_server(nats))
            keys = Keys(folder / "keys")
            with migrated_database(postgres.url) as database:
                practice = new_practice(database, providers=LANES, rooms=LANES, patients=LANES)
                environment = environment_of(database, keys, nats.url)
                with booking_processes(environment, folder) as (process,):
                    assert started.pid is not None
                    yield Bench(database, keys, practice, process, environment, folder, started.pid)
        finally:
            for server in reversed(servers):
                server.stop()
