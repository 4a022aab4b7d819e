"""A migrated database with booking processes on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.booking import BookingProcess, Keys, booking_processes, environment_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import Practice, new_practice
from tests.support.servers import Servers


@dataclass(slots=True)
class Suite:
    """A database and booking processes on it."""

    database: MigratedDatabase
    keys: Keys
    processes: list[BookingProcess]
    nats_url: str

    @property
    def process(self) -> BookingProcess:
        """The first process, which is the only one as a rule."""
        return self.processes[0]

    @property
    def targets(self) -> list[str]:
        return [process.target for process in self.processes]

    def practice(self, **options: Any) -> Practice:
        return new_practice(self.database, **options)


@contextmanager
def booking_suite(
    servers: Servers, folder: Path, *, process_count: int = 1, settings: Mapping[str, str] | None = None
) -> Iterator[Suite]:
    """A new database and processes with `settings` beside the usual ones; both are gone afterwards."""
    keys = Keys(folder / "keys")
    with migrated_database(servers.postgres_url) as database:
        environment = environment_of(database, keys, servers.nats_url) | dict(settings or {})
        with booking_processes(environment, folder, process_count) as processes:
            yield Suite(database, keys, processes, servers.nats_url)
