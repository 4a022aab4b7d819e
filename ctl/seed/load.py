"""Load made-up clinics into a migrated database: all of a clinic or nothing, and never twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import psycopg
from psycopg import Connection

from chassis.encryption import KeyProvider
from ctl.seed import staging
from ctl.seed.clinics import make_clinic
from ctl.seed.rows import Rows, clinic_rows
from ctl.seed.visits import make_visits
from ctl.seed.words import clinic_id
from database.clinic_keys import ClinicCiphers
from scheduling.errors import Unavailable

DEMO_CLINICS: Final = 3
DEMO_DAYS: Final = 28
CLINICS_MAX: Final = 5_000
DAYS_MAX: Final = 365

_BATCH_CLINICS: Final = 5

Progress = Callable[[int, int], None]
"""Called with how many of how many clinics are in the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedOptions:
    """What to make: the same options make the same clinics, patients and visits."""

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
    """What a run did. Clinics that were there already were left as they are."""

    clinics_made: int
    clinics_found: int
    visits: int
    rows: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0


def seed_clinics(
    owner_url: str, master_keys: KeyProvider, options: SeedOptions, *, progress: Progress | None = None
) -> SeedReport:
    """Make the clinics that are missing, with their diaries, events, audit and versions.

    A few clinics go in one transaction; while PostgreSQL checks them, the next ones are made up. Raises Unavailable
    when the database cannot be reached; any failure leaves the clinics of finished transactions, whole.
    """
    started_s = time.monotonic()
    with _connect(owner_url) as owner:
        missing = _missing(owner, options.clinics)
        done = found = options.clinics - len(missing)
        rows = visits = 0
        staging.create_staging(owner)
        owner.commit()
        for made in _made_ahead(missing, options, ClinicCiphers(master_keys)):
            rows += staging.load(owner, made.rows)
            owner.commit()
            visits += made.visits
            done += made.clinics
            if progress is not None:
                progress(done, options.clinics)
        _refresh_statistics(owner)
    return SeedReport(
        clinics_made=options.clinics - found,
        clinics_found=found,
        visits=visits,
        rows=rows,
        seconds=time.monotonic() - started_s,
    )


@dataclass(frozen=True, slots=True)
class _Made:
    """The rows of a few clinics."""

    clinics: int
    visits: int
    rows: Rows


def _made_ahead(numbers: Sequence[int], options: SeedOptions, ciphers: ClinicCiphers) -> Iterator[_Made]:
    """The batches in order, each next one being made while the last one is loaded."""
    batches = [numbers[at : at + _BATCH_CLINICS] for at in range(0, len(numbers), _BATCH_CLINICS)]
    with ThreadPoolExecutor(1, thread_name_prefix="seed") as maker:
        ahead: Future[_Made] | None = None
        for batch in batches:
            following = maker.submit(_make, batch, options, ciphers)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()


def _make(numbers: Sequence[int], options: SeedOptions, ciphers: ClinicCiphers) -> _Made:
    batch, visits = Rows(), 0
    for number in numbers:
        plan = make_clinic(number, seed=options.seed, first_day=options.first_day)
        diary = list(make_visits(plan, seed=options.seed, first_day=options.first_day, days=options.days))
        owner_id, wrapped, master_key_id = ciphers.first_key(plan.id)
        batch.extend(
            clinic_rows(
                plan,
                diary,
                key=(owner_id, 1, wrapped, master_key_id),
                cipher=ciphers.keep(plan.id, [(1, wrapped)]),
                first_day=options.first_day,
            )
        )
        visits += len(diary)
    return _Made(len(numbers), visits, batch)


def _missing(owner: Connection[Any], clinics: int) -> list[int]:
    """The numbers of the clinics that are not there yet."""
    wanted = {clinic_id(number): number for number in range(1, clinics + 1)}
    query = "SELECT id::text FROM clinic WHERE id = ANY(%s::uuid[])"
    there = {row[0] for row in owner.execute(query, (list(wanted),))}
    return [number for wanted_id, number in wanted.items() if wanted_id not in there]


def _refresh_statistics(owner: Connection[Any]) -> None:
    """Let the planner know at once what it would otherwise learn minutes later."""
    owner.autocommit = True
    owner.execute("ANALYZE")


def _connect(owner_url: str) -> Connection[Any]:
    try:
        return psycopg.connect(owner_url, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database cannot be reached: {error}") from error
