"""Fill a migrated database with demo clinics: each imported whole, then its diary loaded whole, and neither twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from itertools import chain
from typing import Any, Final

import psycopg
from psycopg import Connection

from chassis.encryption import KeyProvider
from ctl.seed import staging
from ctl.seed.directories import import_clinics
from ctl.seed.documents import demo_clinic, read_template
from ctl.seed.facts import ClinicFacts, read_clinic
from ctl.seed.rows import Rows, visit_rows
from ctl.seed.visits import make_visits
from ctl.seed.words import clinic_id
from database.locks import directory_keys
from scheduling.errors import Unavailable

DEMO_CLINICS: Final = 3
DEMO_DAYS: Final = 28
CLINICS_MAX: Final = 5_000
DAYS_MAX: Final = 365

_BATCH_CLINICS: Final = 5
_BOOKED_BEFORE: Final = timedelta(days=30)

_THERE: Final = "SELECT id::text FROM clinic WHERE id = ANY (%s::uuid[])"
# Whoever has booked anything has a diary of its own, or this one.
_WITHOUT_VISITS: Final = """
    SELECT id::text FROM clinic c WHERE id = ANY (%s::uuid[]) AND status <> 'archived'
    AND NOT EXISTS (SELECT FROM appointment_ref r WHERE r.clinic_id = c.id)
"""
_LOCK: Final = "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key ORDER BY key"

Progress = Callable[[str, int, int], None]
"""Called with what is counted (`clinics` imported or `diaries` filled), how many are done, and of how many."""


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
    """What a run did. Clinics that were there were left as they are, but for a diary where they had none."""

    clinics_made: int
    clinics_found: int
    visits: int
    visit_rows: int
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
    def rows_per_second(self) -> float:
        return self.visit_rows / self.visit_seconds if self.visit_seconds else 0.0


def seed_clinics(
    owner_url: str, master_keys: KeyProvider, options: SeedOptions, *, progress: Progress | None = None
) -> SeedReport:
    """Import the clinics that are missing, and fill the diaries of those without any visit.

    A clinic is one transaction, and so are a few diaries; while PostgreSQL checks these, the next are made up. Raises
    Unavailable when the database cannot be reached; any failure leaves what finished transactions made, and the same
    call goes on from there.
    """
    tell = progress or _silent
    started_s = time.monotonic()
    with _connect(owner_url) as owner:
        owner.autocommit = True
        made = _import_missing(owner, owner_url, master_keys, options, tell)
        imported_s = time.monotonic()
        owner.autocommit = False
        visits, rows = _fill_diaries(owner, options, tell)
        owner.autocommit = True
        if made or rows:
            _refresh_statistics(owner)
    return SeedReport(
        clinics_made=made,
        clinics_found=options.clinics - made,
        visits=visits,
        visit_rows=rows,
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


@dataclass(frozen=True, slots=True)
class _Diary:
    """The rows of one clinic's visits."""

    clinic: ClinicFacts
    visits: int
    rows: Rows


def _fill_diaries(owner: Connection[Any], options: SeedOptions, tell: Progress) -> tuple[int, int]:
    """Visits made and rows written."""
    wanted = [clinic_id(number) for number in range(1, options.clinics + 1)]
    empty = {row[0] for row in owner.execute(_WITHOUT_VISITS, (wanted,))}
    numbers = {found: number for number, found in enumerate(wanted, 1) if found in empty}
    visits = rows = 0
    done = len(wanted) - len(numbers)
    tell("diaries", done, len(wanted))
    staging.create_staging(owner)
    owner.commit()
    for diaries in _made_ahead(owner, numbers, options):
        kept = _still_empty(owner, diaries)
        rows += staging.load(owner, _together(kept))
        owner.commit()
        visits += sum(diary.visits for diary in kept)
        done += len(diaries)
        tell("diaries", done, len(wanted))
    return visits, rows


def _made_ahead(
    owner: Connection[Any], numbers: dict[str, int], options: SeedOptions
) -> Iterator[list[_Diary]]:
    """The diaries in batches, each next one being made up while the last one is loaded."""
    ids = list(numbers)
    size = _BATCH_CLINICS if len(ids) > _BATCH_CLINICS else 1
    with ThreadPoolExecutor(1, thread_name_prefix="seed") as maker:
        ahead: Future[list[_Diary]] | None = None
        for at in range(0, len(ids), size):
            clinics = [read_clinic(owner, found) for found in ids[at : at + size]]
            owner.commit()
            following = maker.submit(_make, clinics, numbers, options)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()


def _make(clinics: Sequence[ClinicFacts], numbers: dict[str, int], options: SeedOptions) -> list[_Diary]:
    diaries = []
    for clinic in clinics:
        planned = list(make_visits(clinic, seed=options.seed, first_day=options.first_day, days=options.days))
        midnight = datetime.combine(options.first_day, time_of_day(), UTC)
        booked_at = midnight - _BOOKED_BEFORE + timedelta(minutes=numbers[clinic.id])
        diaries.append(_Diary(clinic, len(planned), visit_rows(clinic, planned, booked_at)))
    return diaries


def _still_empty(owner: Connection[Any], diaries: Sequence[_Diary]) -> list[_Diary]:
    """Those that nobody has booked in since; nobody will before this transaction ends."""
    clinics = [diary.clinic for diary in diaries]
    # As a change of the directory does: the clinic itself first, then its locations.
    owner.execute(_LOCK, ([key for clinic in clinics for key in directory_keys(clinic.id, [clinic.id])],))
    places = [
        directory_keys(clinic.id, [static.location.id for static in clinic.statics]) for clinic in clinics
    ]
    owner.execute(_LOCK, (list(chain.from_iterable(places)),))
    found = owner.execute(_WITHOUT_VISITS, ([clinic.id for clinic in clinics],)).fetchall()
    empty = {row[0] for row in found}
    return [diary for diary in diaries if diary.clinic.id in empty]


def _together(diaries: Sequence[_Diary]) -> Rows:
    rows = Rows()
    for diary in diaries:
        rows.extend(diary.rows)
    return rows


def _refresh_statistics(owner: Connection[Any]) -> None:
    """Let the planner know at once what it would otherwise learn minutes later."""
    owner.execute("ANALYZE")


def _silent(_what: str, _done: int, _total: int) -> None:
    """Say nothing."""


def _connect(owner_url: str) -> Connection[Any]:
    try:
        return psycopg.connect(owner_url, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database cannot be reached: {error}") from error
