"""Book many visits of one clinic in few round trips: as one call for each would have left them, or not at all.

    directory locked exclusively ── all resource rows locked in id order ── for each batch: what decides about it is
    read once ── judged in memory, each visit seeing those before it ── rows of every table, a statement each

Nobody else changes what is claimed meanwhile, so nothing has to be judged twice. While PostgreSQL checks the rows of
one batch, the next is fetched and judged by a thread; what it must know of the batch before is in memory, since it is
not read while that is written. So memory holds two batches, however many there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

from booking_svc.model import Caller
from booking_svc.store.directory import DirectoryStore
from booking_svc.store.many_visits import ManyVisits, NewVisits
from booking_svc.store.session import Session
from booking_svc.usecases.commands import Book
from booking_svc.usecases.diary import stretches_by_day
from booking_svc.usecases.edit_directory import LOCATIONS_MAX, lock_whole_directory
from booking_svc.usecases.expire_hold import end_holds
from booking_svc.usecases.history import Told
from booking_svc.usecases.judging_many import Ask, Asked, Clerk, Done, Given, Known, asked
from booking_svc.usecases.places import require_known, the_only, working_places
from booking_svc.usecases.recording import Recorder
from database.busy_facts import Stretch, VersionedClaims
from database.location_facts import LocationFacts
from scheduling.clock import exact_minutes_of
from scheduling.derived import DerivedCache
from scheduling.errors import DomainError

BATCH_MAX: Final = 1_000
"""Visits that are read for, judged and written at once."""

_LOCATIONS_AT_ONCE: Final = 50

WrittenT = TypeVar("WrittenT")
JudgedT = TypeVar("JudgedT")
Batch = Sequence[Given]


class BookMany:
    """The work of booking many visits, to be run in a transaction that is open and that nothing undoes in part."""

    def __init__(self, recorder: Recorder, cache: DerivedCache) -> None:
        self._recorder = recorder
        self._cache = cache

    async def work(self, session: Session, caller: Caller, batches: Iterable[Batch]) -> AsyncIterator[Done]:
        """What became of each batch, in order. All is written once the last one was told.

        A batch has at most BATCH_MAX visits, and no id comes twice. `batches` is asked for more by another thread.
        Visits that are refused are left out, so that those after them are judged as well; the caller must not commit
        then. Raises psycopg's errors.
        """
        coming = iter(batches)
        batch = await asyncio.to_thread(next, coming, None)
        places = await self._enter(session)
        clerk = Clerk(caller, self._recorder, self._cache)
        waiting: NewVisits | None = None
        while batch:
            known, asks, waiting = await self._read(session, places, batch, waiting)
            wanted = list(zip(batch, asks, strict=True))
            judging = asyncio.to_thread(lambda: (clerk.judge(wanted, known), next(coming, None)))  # noqa: B023
            _, (done, batch) = await _both(_write(session, waiting), judging)
            waiting = done.new
            yield done
        await _write(session, waiting)

    async def _enter(self, session: Session) -> dict[str, LocationFacts]:
        """Let nobody else book or give back, and return the facts of all locations."""
        store = DirectoryStore(session)
        await lock_whole_directory(store)
        ManyVisits(session).lock_all_resources()
        location_ids = await store.location_ids(LOCATIONS_MAX)
        found: dict[str, LocationFacts] = {}
        for at in range(0, len(location_ids), _LOCATIONS_AT_ONCE):
            replies = [session.location(one) for one in location_ids[at : at + _LOCATIONS_AT_ONCE]]
            await session.run()
            known = (reply.get() for reply in replies)
            found |= {facts.static.location.id: facts for facts in known if facts is not None}
        return found

    async def _read(
        self,
        session: Session,
        places: Mapping[str, LocationFacts],
        batch: Batch,
        waiting: NewVisits | None,
    ) -> tuple[Known, list[Ask], NewVisits | None]:
        """Where each visit takes place, what decides about it, and what is still waiting to be written.

        Holds that have ended are ended: their ends raise calendars further, so what is waiting is written before, and
        read. All is judged at the moment before the first look: a hold that ends after it stands.
        """
        located = await self._located(session, places, batch)
        clock = session.clock()
        await session.run()
        now = clock.get()
        asks: list[Ask] = [
            where if isinstance(where, DomainError) else asked(given, places.get(where), now)
            for given, where in zip(batch, located, strict=True)
        ]
        known, ended = await _known(session, batch, asks, now)
        if ended:
            await _write(session, waiting)
            waiting = None
            await end_holds(session, self._recorder, ended)
            known, _ = await _known(session, batch, asks, now)
        if waiting is not None:
            known.add_all(waiting)
        return known, asks, waiting

    async def _located(
        self, session: Session, places: Mapping[str, LocationFacts], batch: Batch
    ) -> list[str | DomainError]:
        """The location of each visit: the one that it names, else the one that a booking would choose."""
        nowhere = {(one.book.room_id, one.book.provider_id) for one in batch if not one.book.location_id}
        replies = {pair: session.places(*pair) for pair in nowhere}
        if replies:
            await session.run()
        candidates = {pair: reply.get() for pair, reply in replies.items()}
        found: list[str | DomainError] = []
        for one in batch:
            try:
                found.append(one.book.location_id or await self._place(session, places, candidates, one.book))
            except DomainError as refusal:
                found.append(refusal)
        return found

    async def _place(
        self,
        session: Session,
        places: Mapping[str, LocationFacts],
        candidates: Mapping[tuple[str | None, str], list[str]],
        book: Book,
    ) -> str:
        found = candidates[book.room_id, book.provider_id]
        if not found:
            await require_known(session, book)
        if len(found) > 1:
            found = working_places([places[one] for one in found if one in places], book, self._cache)
        return the_only(found)


async def _known(
    session: Session, batch: Batch, asks: Iterable[Ask], now: datetime
) -> tuple[Known, set[str]]:
    """What decides about a batch, read at once, and the holds in it that have ended `now`."""
    reading = [ask for ask in asks if isinstance(ask, Asked)]
    stretches = stretches_by_day(stretch for ask in reading for stretch in ask.stretches)
    history = {
        found
        for ask in reading
        if isinstance(ask.wanted, Told)
        for found in (ask.given.book.provider_id, ask.given.book.room_id)
        if found
    }
    patient_ids = sorted({one.book.patient_id for one in batch if one.book.patient_id})
    store = ManyVisits(session)
    there = store.there([one.id for one in batch])
    references = store.references([one.id for one in batch])
    elsewhere = store.elsewhere({ask.given.id: ask.wanted.start_min for ask in reading})
    patients = store.patients(patient_ids, _since(reading))
    claims = session.claims(stretches)
    kinds = await DirectoryStore(session).resource_kinds(sorted(history))
    known = Known(
        now=now,
        there=there.get(),
        references=references.get(),
        elsewhere=elsewhere.get(),
        patients=patients.get(),
        kinds=kinds,
    )
    ended = _written_down(known, claims.get())
    return known, ended


def _since(asks: Iterable[Asked]) -> dict[str, int]:
    """From when on visits count of each patient whom a limit binds."""
    since: dict[str, int] = {}
    for ask in asks:
        patient_id = ask.given.book.patient_id
        if patient_id is not None and ask.since_min is not None:
            since[patient_id] = min(ask.since_min, since.get(patient_id, ask.since_min))
    return since


def _written_down(known: Known, claims: Mapping[Stretch, VersionedClaims]) -> set[str]:
    """Put claims and versions into what is known; the holds among them that have ended."""
    now_min, ended = exact_minutes_of(known.now), set()
    for stretch, found in claims.items():
        known.versions[stretch.lock_id or stretch.resource_id] = found.version
        for claim in found.claims:
            known.diary.add(claim, stretch)
            if not claim.is_live(now_min):
                ended.add(claim.appointment_id)
    return ended


async def _write(session: Session, new: NewVisits | None) -> None:
    if new is not None:
        ManyVisits(session).queue(new)
        await session.run()


async def _both(writing: Awaitable[WrittenT], judging: Awaitable[JudgedT]) -> tuple[WrittenT, JudgedT]:
    """Wait for both, whatever becomes of one; the first failure is raised."""
    written, judged = await asyncio.gather(writing, judging, return_exceptions=True)
    if isinstance(written, BaseException):
        raise written
    if isinstance(judged, BaseException):
        raise judged
    return written, judged
