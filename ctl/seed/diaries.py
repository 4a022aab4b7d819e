"""Diaries of demo clinics: made-up visits, each clinic's imported as a document of its own in one transaction."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import psycopg
from psycopg import Connection as Owner
from psycopg.rows import scalar_row

from booking_svc.store.directory import DirectoryStore
from booking_svc.usecases.edit_directory import lock_whole_directory
from chassis.encryption import KeyProvider
from ctl.failures import CtlError
from ctl.seed.directories import CALLER
from ctl.seed.documents import TEMPLATE
from ctl.seed.facts import read_clinic
from ctl.seed.visits import PlannedVisit, make_visits
from ctl.seed.words import seed_id
from ctl.seed.workers import worker_pool
from ctl.transfer.checking import check
from ctl.transfer.reading import RawEntry
from ctl.transfer.running import write_document
from ctl.transfer.sections import APPOINTMENTS
from ctl.transfer.sessions import begun, operator, owner_connection
from database.pipeline import Connection
from scheduling.appointment import AppointmentStatus
from scheduling.clock import instant_of, minutes_of

OVERRIDE: Final = "made up with the demo"
"""Why a service that is to be booked ahead is booked for any time."""

SOON_MIN: Final = 60
"""A visit that begins within this time may have begun when it is judged: far longer than a diary takes."""

_NOW: Final = "SELECT clock_timestamp()"
_ALONE_MAX: Final = 5
_WORKERS_MAX: Final = 4

# Whoever has booked anything has a diary of its own, or this one.
_WITHOUT_VISITS: Final = """
    SELECT id::text FROM clinic c WHERE id = ANY (%s::uuid[]) AND status <> 'archived'
    AND NOT EXISTS (SELECT FROM appointment_ref r WHERE r.clinic_id = c.id)
    ORDER BY array_position(%s::uuid[], id)
"""


DatabaseClock = Callable[[Owner[Any]], datetime]
"""The current instant, asked over a connection; a function of a module, so that processes can be told of it."""


def database_clock(owner: Owner[Any]) -> datetime:
    """The time by which the database's bookings are judged."""
    with owner.cursor(row_factory=scalar_row) as cursor:
        found: list[datetime] = cursor.execute(_NOW).fetchall()
    return found[0]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which days are filled."""

    first_day: date
    days: int


@dataclass(frozen=True, slots=True)
class Diary:
    """The document of one clinic's visits."""

    clinic_id: str
    raws: tuple[RawEntry, ...]

    def entries(self) -> Iterator[RawEntry]:
        """Every visit, day by day."""
        return iter(self.raws)


def without_visits(owner: Owner[Any], clinic_ids: Sequence[str]) -> list[str]:
    """Those of the clinics that nobody has booked in, in their order."""
    wanted = list(clinic_ids)
    return [row[0] for row in owner.execute(_WITHOUT_VISITS, (wanted, wanted))]


@dataclass(frozen=True, slots=True)
class DiaryTask:
    """What is the same for all diaries of a run."""

    owner_url: str
    master_keys: KeyProvider
    seed: int
    stretch: Stretch
    clock: DatabaseClock = database_clock


def fill_diaries(task: DiaryTask, clinic_ids: Sequence[str], *, progress: Callable[[int], None]) -> int:
    """Import the visits of clinics that have none; how many visits.

    Raises CtlError for what the import refuses, psycopg's errors for the database; either leaves whole diaries, and no
    process. A few are imported one after the other, in the order of the clinics. Many are shared among processes: what
    takes long is to judge the visits, and a process judges on one core.
    """
    workers = min(os.cpu_count() or 1, _WORKERS_MAX)
    if len(clinic_ids) <= _ALONE_MAX or workers == 1:
        return asyncio.run(import_diaries(task, clinic_ids, progress=progress))
    visits = 0
    with worker_pool(workers) as pool:
        filling = [pool.submit(_fill_one, task, clinic_id) for clinic_id in clinic_ids]
        for done, filled in enumerate(as_completed(filling), 1):
            visits += filled.result()
            progress(done)
    return visits


def _fill_one(task: DiaryTask, clinic_id: str) -> int:
    return asyncio.run(import_diaries(task, [clinic_id], progress=_uncounted))


async def import_diaries(
    task: DiaryTask, clinic_ids: Sequence[str], *, progress: Callable[[int], None]
) -> int:
    """Import them one clinic after the other, each next one being made up meanwhile; how many visits."""
    visits = done = 0
    with psycopg.connect(task.owner_url, autocommit=True) as owner:
        async with owner_connection(task.owner_url) as connection:
            async for diary in _made_ahead(owner, clinic_ids, task):
                visits += await _import(owner, connection, task.master_keys, diary)
                done += 1
                progress(done)
    return visits


async def _made_ahead(owner: Owner[Any], clinic_ids: Sequence[str], task: DiaryTask) -> AsyncIterator[Diary]:
    stretch = task.stretch

    def make(clinic_id: str) -> Diary:
        clinic = read_clinic(owner, clinic_id)
        # Asked for each diary: a run may take hours.
        now_min = minutes_of(task.clock(owner))
        planned = make_visits(clinic, seed=task.seed, first_day=stretch.first_day, days=stretch.days)
        return Diary(clinic_id, tuple(entry_of(one, now_min) for one in planned))

    ahead: asyncio.Task[Diary] | None = None
    for clinic_id in clinic_ids:
        following = asyncio.create_task(asyncio.to_thread(make, clinic_id))
        if ahead is not None:
            yield await ahead
        ahead = following
    if ahead is not None:
        yield await ahead


async def _import(owner: Owner[Any], connection: Connection, master_keys: KeyProvider, diary: Diary) -> int:
    plan = check(diary, diary.clinic_id, {}, progress=_uncounted)
    session = await begun(connection, diary.clinic_id, master_keys)
    # From here on nobody books in the clinic before this is over.
    await lock_whole_directory(DirectoryStore(session))
    if plan.faults or not without_visits(owner, [diary.clinic_id]):
        session.rollback()
        await session.run()
    else:
        report = await write_document(session, diary, plan, caller=operator(CALLER), progress=_silent)
        if not report.refused:
            return report.created
        plan.faults += report.refused
    if plan.faults:
        raise CtlError(f"The made-up visits have {len(plan.faults)} faults, first: {plan.faults[0]}.")
    return 0


def entry_of(planned: PlannedVisit, now_min: int) -> RawEntry:
    """A visit as a file has it: one that is over is history, and one that has begun is under way.

    One that begins soon has a reason to be booked late.
    """
    visit = planned.visit
    tree = {
        "id": seed_id("visit", visit.provider_id, visit.start_min),
        "location_id": planned.location.id,
        "provider_id": visit.provider_id,
        "service_id": visit.service_id,
        "patient_id": visit.patient_id,
        "room_id": visit.room_id,
        "start": f"{instant_of(visit.start_min):%Y-%m-%dT%H:%MZ}",
    }
    if visit.end_min <= now_min:
        tree["status"] = AppointmentStatus.COMPLETED.value
    elif visit.start_min <= now_min:
        tree |= {"status": AppointmentStatus.IN_PROGRESS.value, "override_reason": OVERRIDE}
    elif planned.is_on_notice or visit.start_min <= now_min + SOON_MIN:
        tree["override_reason"] = OVERRIDE
    return RawEntry(TEMPLATE, APPOINTMENTS, 0, tree)


def _uncounted(_count: int) -> None:
    """Say nothing: diaries are counted, not their visits."""


def _silent(_section: str, _count: int) -> None:
    """Say nothing, as above."""
