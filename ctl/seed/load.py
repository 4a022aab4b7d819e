"""Fill a migrated database with demo clinics: each imported whole, then its diary as well, and neither twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import psycopg
from psycopg import Connection

from chassis.encryption import KeyProvider
from ctl.seed.diaries import (
    DatabaseClock,
    DiaryTask,
    Stretch,
    database_clock,
    fill_diaries,
    without_visits,
)
from ctl.seed.directories import import_clinics
from ctl.seed.documents import demo_clinic, read_template
from ctl.seed.words import clinic_id
from scheduling.errors import Unavailable

DEMO_CLINICS: Final = 3
DEMO_DAYS: Final = 28
CLINICS_MAX: Final = 5_000
DAYS_MAX: Final = 365

_THERE: Final = "SELECT id::text FROM clinic WHERE id = ANY (%s::uuid[])"

Progress = Callable[[str, int, int], None]
"""Called with what is counted (`clinics` imported or `diaries` filled), how many are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedOptions:
    """What to make: the same options make the same clinics, patients and visits; what is past is history."""

    clinics: int = DEMO_CLINICS
    days: int = DEMO_DAYS
    seed: int = 1
    first_day: date

    def __post_init__(self) -> None:
        if not 1 <= self.clinics <= CLINICS_MAX:
            raise ValueError(f"clinics must be 1 to {CLINICS_MAX}")
        if not 1 <= self.days <= DAYS_MAX:
            raise ValueError(f"days must be 1 to {DAYS_MAX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """What a run did. Clinics that were there were left as they are, but for a diary where they had none."""

    clinics_made: int
    clinics_found: int
    visits: int
    import_seconds: float
    visit_seconds: float

    @property
    def seconds(self) -> float:
        return self.import_seconds + self.visit_seconds

    @property
    def seconds_per_clinic(self) -> float:
        """What importing one clinic took."""
        return self.import_seconds / self.clinics_made if self.clinics_made else 0.0

    @property
    def visits_per_second(self) -> float:
        return self.visits / self.visit_seconds if self.visit_seconds else 0.0


def seed_clinics(
    owner_url: str,
    master_keys: KeyProvider,
    options: SeedOptions,
    *,
    progress: Progress | None = None,
    clock: DatabaseClock = database_clock,
) -> SeedReport:
    """Import the clinics that are missing, and fill the diaries of those without any visit.

    A clinic is one transaction, and so is a diary; many diaries are filled by several processes. Raises Unavailable
    when the database cannot be reached; any failure leaves what finished transactions made, and the same call goes on
    from there. `clock` tells, for each diary, what of it is past.
    """
    tell = progress or _silent
    started_s = time.monotonic()
    with _connect(owner_url) as owner:
        made = _import_missing(owner, owner_url, master_keys, options, tell)
        imported_s = time.monotonic()
        stretch = Stretch(options.first_day, options.days)
        task = DiaryTask(owner_url, master_keys, options.seed, stretch, clock)
        visits = _fill_diaries(owner, task, options, tell)
        if made or visits:
            _refresh_statistics(owner)
    return SeedReport(
        clinics_made=made,
        clinics_found=options.clinics - made,
        visits=visits,
        import_seconds=imported_s - started_s,
        visit_seconds=time.monotonic() - imported_s,
    )


def _import_missing(
    owner: Connection[Any],
    owner_url: str,
    master_keys: KeyProvider,
    options: SeedOptions,
    tell: Progress,
) -> int:
    wanted = {clinic_id(number): number for number in range(1, options.clinics + 1)}
    there = {row[0] for row in owner.execute(_THERE, (list(wanted),))}
    missing = [number for wanted_id, number in wanted.items() if wanted_id not in there]
    template = read_template()
    documents = (
        demo_clinic(template, number, seed=options.seed, first_day=options.first_day) for number in missing
    )

    def count(done: int) -> None:
        tell("clinics", len(there) + done, options.clinics)

    count(0)
    return asyncio.run(import_clinics(owner_url, master_keys, documents, progress=count)) if missing else 0


def _fill_diaries(owner: Connection[Any], task: DiaryTask, options: SeedOptions, tell: Progress) -> int:
    """How many visits were made."""
    wanted = [clinic_id(number) for number in range(1, options.clinics + 1)]
    empty = without_visits(owner, wanted)

    def count(done: int) -> None:
        tell("diaries", len(wanted) - len(empty) + done, len(wanted))

    count(0)
    return fill_diaries(task, empty, progress=count)


def _refresh_statistics(owner: Connection[Any]) -> None:
    """Let the planner know at once what it would otherwise learn minutes later."""
    owner.execute("ANALYZE")


def _silent(_what: str, _done: int, _total: int) -> None:
    """Say nothing."""


def _connect(owner_url: str) -> Connection[Any]:
    try:
        return psycopg.connect(owner_url, connect_timeout=5, autocommit=True)
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database cannot be reached: {error}") from error
