"""One clinic's transaction, seen from a use case: typed questions and writes, sent together.

A question is queued and answered later: `run` sends everything queued in one round trip, then each reply's `get`
gives its value. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Generic, TypeVar

from booking_svc.model import Appointment, Caller, EventType, HeldClaim, Traces
from booking_svc.store import rows, statements
from chassis.encryption import ClinicCipher
from database.busy_facts import Stretch, VersionedClaims, build_patient, build_stretches
from database.location_facts import LocationFacts, build_location
from database.locks import directory_keys
from database.pipeline import Connection, Pending, Statement, Value
from scheduling.clock import instant_of
from scheduling.facts import PatientFacts, PlannedClaim

ResultT = TypeVar("ResultT")


class Reply(Generic[ResultT]):
    """The answer to a question, there once the session has run."""

    __slots__ = ("_build", "_pending")

    def __init__(self, pending: Pending, build: Callable[[Pending], ResultT]) -> None:
        self._pending = pending
        self._build = build

    def get(self) -> ResultT:
        """The answer, read from the rows at each call."""
        return self._build(self._pending)

    @property
    def is_there(self) -> bool:
        """Whether the statement has been answered; not when it failed or was skipped."""
        return self._pending.is_filled


@dataclass(frozen=True, slots=True)
class Stored:
    """An appointment as it was read, with the database's clock and the clinic's status at that moment."""

    appointment: Appointment
    now: datetime
    clinic_status: str


@dataclass(frozen=True, slots=True)
class VersionedLocation:
    """A location's static facts, and the version of the clinic's directory that they are of, if it has any."""

    facts: LocationFacts
    version: int | None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What the first call with an idempotency key was answered; `response` is None while it still runs."""

    fingerprint: bytes
    status_code: int | None
    response: bytes | None


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key in its scope, with the fingerprint of the request it came with."""

    principal: str
    method: str
    key: str
    fingerprint: bytes


class Session:
    """A transaction of one clinic on one connection.

    `clock_offset` moves the database's clock; only tests set it. After an error the transaction must be rolled back,
    to its savepoint or as a whole. `is_hasty` allows locks to travel with the writes, on condition that what was read
    before them has not changed.
    """

    def __init__(
        self, connection: Connection, clinic_id: str, cipher: ClinicCipher, clock_offset: timedelta
    ) -> None:
        self._connection = connection
        self.clinic_id = clinic_id
        self.cipher = cipher
        self._clock_offset = clock_offset
        self._check: Callable[[], None] | None = None
        self.has_savepoint = False
        self.is_hasty = False

    # ── the transaction ─────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Begin to write, as this clinic."""
        self.queue(statements.BEGIN)
        self.queue(statements.ENTER_CLINIC, self.clinic_id, f"{statements.LOCK_WAIT_MS}ms")

    def begin_snapshot(self) -> None:
        """Begin to read one moment, as this clinic."""
        self.queue(statements.BEGIN_SNAPSHOT)
        self.queue(statements.ENTER_CLINIC, self.clinic_id, "1s")

    def savepoint(self) -> None:
        """Begin an attempt that can be undone."""
        self.queue(statements.SAVEPOINT)
        self.has_savepoint = True

    def rollback_to_savepoint(self) -> None:
        """Undo the attempt and release its row locks; the savepoint stays."""
        self.queue(statements.ROLLBACK_TO_SAVEPOINT)

    def commit(self) -> None:
        """Commit with the next run. When that is cut off, nobody knows whether it happened."""
        self.queue(statements.COMMIT)

    def rollback(self) -> None:
        """Undo everything."""
        self.queue(statements.ROLLBACK)

    def check_first_run(self, check: Callable[[], None]) -> None:
        """Call `check` once, as soon as what is queued now has been answered."""
        self._check = check

    async def run(self) -> None:
        """Send what is queued and wait for it. Raises psycopg's errors."""
        check, self._check = self._check, None
        await self._connection.run()
        if check is not None:
            check()

    # ── idempotency ─────────────────────────────────────────────────────────────────────────────────────────────

    def claim_key(self, key: Key) -> Reply[bool]:
        """Write the key; False when it is there already. Waits while another transaction writes the same one."""
        pending = self.queue(
            statements.INSERT_KEY, self.clinic_id, key.principal, key.method, key.key, key.fingerprint
        )
        return Reply(pending, lambda done: done.row() is not None)

    def stored_answer(self, key: Key) -> Reply[StoredAnswer | None]:
        """What an earlier call with this key was answered."""
        pending = self.queue(statements.READ_KEY, self.clinic_id, key.principal, key.method, key.key)
        return Reply(pending, _stored_answer)

    def store_answer(self, key: Key, status_code: int, sealed: bytes) -> None:
        """Keep the answer for later calls with the same key."""
        self.queue(
            statements.ANSWER_KEY, self.clinic_id, key.principal, key.method, key.key, status_code, sealed
        )

    # ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────

    def lock_directory(self, thing_ids: Sequence[str]) -> None:
        """Keep the directory of these services and locations from changing until the transaction ends."""
        self.queue(statements.LOCK_DIRECTORY_SHARED, directory_keys(self.clinic_id, thing_ids))

    def clock(self) -> Reply[datetime]:
        """The database's clock, moved by the tests' offset."""
        return Reply(self.queue(statements.READ_CLOCK), lambda done: self._moved(done.rows()[0][0]))

    def places(self, room_id: str | None, provider_id: str) -> Reply[list[str]]:
        """Locations where a booking of this room, or without one of this provider, may take place."""
        pending = self.queue(statements.READ_PLACES, self.clinic_id, room_id, provider_id)
        return Reply(pending, lambda done: [row[0] for row in done.rows()])

    def location(
        self, location_id: str, *, provider_id: str | None = None, service_id: str | None = None
    ) -> Reply[LocationFacts | None]:
        """A location's static facts; a provider and a service narrow them to what concerns these."""
        providers = None if provider_id is None else [provider_id]
        pending = self.queue(statements.READ_LOCATION, self.clinic_id, location_id, providers, service_id)
        return Reply(pending, _location)

    def versioned_location(
        self, location_id: str, *, provider_id: str | None = None, service_id: str | None = None
    ) -> Reply[VersionedLocation | None]:
        """The same with the directory's version: as long as `directory_version` answers that, these facts hold."""
        providers = None if provider_id is None else [provider_id]
        pending = self.queue(
            statements.READ_VERSIONED_LOCATION, self.clinic_id, location_id, providers, service_id
        )
        return Reply(pending, _versioned_location)

    def directory_version(self) -> Reply[int | None]:
        """The version of the clinic's directory: every change of a location's facts raises it."""
        pending = self.queue(statements.READ_DIRECTORY_VERSION, self.clinic_id)
        return Reply(pending, lambda done: next((row[0] for row in done.rows()), None))

    def claims(self, stretches: Sequence[Stretch]) -> Reply[dict[Stretch, VersionedClaims]]:
        """What is claimed in stretches of resources' calendars, with the calendars' versions."""
        pending = self.queue(
            statements.READ_CLAIMS,
            self.clinic_id,
            [stretch.resource_id for stretch in stretches],
            [stretch.lock_id or stretch.resource_id for stretch in stretches],
            [stretch.start_min for stretch in stretches],
            [stretch.end_min for stretch in stretches],
        )
        return Reply(pending, lambda done: build_stretches(stretches, done.rows()))

    def patient(
        self, patient_id: str, since_min: int | None, *, lock: bool = False
    ) -> Reply[PatientFacts | None]:
        """The patient with the visits that start after `since_min`, or without any; None when there is none.

        With `lock` it cannot be put out of use until the transaction ends.
        """
        since = () if since_min is None else (instant_of(since_min).isoformat(),)
        statement = statements.PATIENTS[since_min is not None, lock]
        pending = self.queue(statement, self.clinic_id, patient_id, *since)
        return Reply(pending, lambda done: build_patient(patient_id, done.rows()))

    # ── locks ───────────────────────────────────────────────────────────────────────────────────────────────────

    def ensure_quotas(self, days: Sequence[tuple[str, date]]) -> None:
        """Make the rows of quotas (id, local day) that nobody has claimed yet."""
        ids, dates = [quota_id for quota_id, _ in days], [day.isoformat() for _, day in days]
        self.queue(statements.ENSURE_QUOTAS, self.clinic_id, ids, dates)

    def lock_resources(self, resource_ids: Sequence[str]) -> Reply[dict[str, int]]:
        """Lock resource rows in the order of their ids and raise their versions; the new versions, by id."""
        pending = self.queue(statements.LOCK_RESOURCES, self.clinic_id, sorted(set(resource_ids)))
        return Reply(pending, lambda done: dict(done.rows()))

    def lock_untouched(self, versions: Mapping[str, int], before: datetime) -> None:
        """Lock resource rows and raise their versions, which must still be these, before that moment of the clock.

        Otherwise the run that this goes out with raises an error for which `is_overtaken` is true.
        """
        locked = sorted(versions)
        known, until = [versions[found] for found in locked], self._database_time(before)
        self.queue(statements.LOCK_UNTOUCHED, self.clinic_id, locked, known, until)

    def lock_patient_untouched(self, patient: PatientFacts, before: datetime) -> None:
        """Keep a patient in use until the transaction ends.

        It must be in use, and a placeholder or not as it was, before that moment of the clock; else as
        `lock_untouched`.
        """
        until = self._database_time(before)
        self.queue(
            statements.LOCK_PATIENT_UNTOUCHED, self.clinic_id, patient.id, patient.is_placeholder, until
        )

    def lock_only(self, resource_ids: Sequence[str]) -> None:
        """Lock resource rows in the order of their ids and leave their versions."""
        self.queue(statements.LOCK_RESOURCES_ONLY, self.clinic_id, sorted(set(resource_ids)))

    def lock_appointment(self, appointment_id: str) -> None:
        """Lock an appointment; after the resources, as every writer does."""
        self.queue(statements.LOCK_APPOINTMENT, self.clinic_id, appointment_id)

    def lock_appointments(self, appointment_ids: Sequence[str]) -> None:
        """Lock many in the order of their ids."""
        self.queue(statements.LOCK_APPOINTMENTS, self.clinic_id, sorted(appointment_ids))

    # ── appointments ────────────────────────────────────────────────────────────────────────────────────────────

    def appointment(self, appointment_id: str) -> Reply[Stored | None]:
        """An appointment; None when the clinic has no such one."""
        pending = self.queue(statements.READ_APPOINTMENT, self.clinic_id, appointment_id)
        return Reply(pending, self._stored)

    def own_claims(self, appointment_id: str) -> Reply[list[tuple[object, ...]]]:
        """What an appointment claims, as rows for `rows.held_claims_of`."""
        return Reply(
            self.queue(statements.READ_OWN_CLAIMS, self.clinic_id, appointment_id), lambda done: done.rows()
        )

    def zone(self, location_id: str | None) -> Reply[tuple[str, str, datetime] | None]:
        """The zone of a location (else the clinic's), the clinic's status and the clock; None when there is none."""
        pending = self.queue(statements.READ_ZONE, self.clinic_id, location_id)
        return Reply(pending, self._zone)

    def appointments(
        self,
        first: datetime,
        end: datetime,
        statuses: Sequence[str],
        *,
        after: tuple[datetime, str],
        limit: int,
        offset: int,
        filters: Mapping[str, str],
    ) -> Reply[list[Appointment]]:
        """A page of the appointments that start in `[first, end)`, by start, then id."""
        pending = self.queue(
            statements.list_appointments(tuple(filters)), self.clinic_id, first.isoformat(), end.isoformat(),
            list(statuses), after[0].isoformat(), after[1], limit, offset, *filters.values(),
        )  # fmt: skip
        return Reply(pending, lambda done: [rows.appointment_of(row, self.cipher) for row in done.rows()])

    def insert_appointment(self, visit: Appointment) -> None:
        """Write a new appointment with its reference and equipment."""
        self.queue(statements.INSERT_APPOINTMENT, *rows.insert_values(visit, self.cipher))
        self._insert_equipment(visit)

    def update_appointment(self, before: Appointment, visit: Appointment) -> None:
        """Write a changed appointment, wherever it lies now."""
        if visit.start_min != before.start_min:
            start = instant_of(visit.start_min).isoformat()
            self.queue(statements.MOVE_REFERENCE, self.clinic_id, visit.id, start)
        self.queue(statements.UPDATE_APPOINTMENT, *rows.update_values(before, visit, self.cipher))
        if visit.equipment != before.equipment:
            self.queue(statements.DELETE_EQUIPMENT, self.clinic_id, visit.id)
            self._insert_equipment(visit)

    def _insert_equipment(self, visit: Appointment) -> None:
        units = [(use.equipment_id, unit) for use in visit.equipment for unit in use.units]
        if units:
            items, numbers = [item for item, _ in units], [unit for _, unit in units]
            self.queue(statements.INSERT_EQUIPMENT, self.clinic_id, visit.id, items, numbers)

    # ── claims ──────────────────────────────────────────────────────────────────────────────────────────────────

    def delete_claims(self, appointment_id: str) -> None:
        """Give up everything an appointment claims."""
        self.queue(statements.DELETE_CLAIMS, self.clinic_id, appointment_id)

    def insert_claims(
        self, appointment_id: str, expires_at: datetime | None, claims: Sequence[HeldClaim]
    ) -> Reply[set[tuple[str, int]]]:
        """Claim all that is free; the (resource, unit) pairs that were had."""
        values = rows.claim_values(self.clinic_id, appointment_id, expires_at, claims)
        pending = self.queue(statements.INSERT_CLAIMS, *values)
        return Reply(pending, lambda done: {(resource_id, unit) for resource_id, unit in done.rows()})

    def insert_all_claims(
        self, appointment_id: str, expires_at: datetime | None, claims: Sequence[HeldClaim | PlannedClaim]
    ) -> None:
        """Claim everything or fail: a claim that is not to be had makes the run raise SerializationFailure."""
        values = rows.claim_values(self.clinic_id, appointment_id, expires_at, claims)
        self.queue(statements.INSERT_ALL_CLAIMS, *values)

    # ── events and audit ────────────────────────────────────────────────────────────────────────────────────────

    def insert_traces(self, caller: Caller, visit: Appointment, action: EventType, made: Traces) -> None:
        """Put a change's event into the outbox, and say in the audit who did it."""
        principal = caller.principal
        self.queue(
            statements.INSERT_TRACES, self.clinic_id, made.event_id, visit.id, visit.version, action.value,
            made.payload, caller.traceparent, made.audit_id, principal.subject, principal.role.value,
            caller.address, caller.request_id, made.before, made.after,
        )  # fmt: skip

    def queue(self, statement: Statement, *values: Value) -> Pending:
        """Add a statement to the next run: for the questions that have no method here."""
        return self._connection.queue(statement, *values)

    def _moved(self, instant: datetime) -> datetime:
        return instant + self._clock_offset

    def _database_time(self, instant: datetime) -> str:
        return (instant - self._clock_offset).isoformat()

    def _zone(self, pending: Pending) -> tuple[str, str, datetime] | None:
        row = pending.row()
        return None if row is None else (row[0], row[1], self._moved(row[2]))

    def _stored(self, pending: Pending) -> Stored | None:
        row = pending.row()
        if row is None:
            return None
        now, clinic_status = row[rows.APPOINTMENT_COLUMNS :]
        return Stored(rows.appointment_of(row, self.cipher), self._moved(now), clinic_status)


def _stored_answer(pending: Pending) -> StoredAnswer | None:
    row = pending.row()
    return None if row is None else StoredAnswer(*row)


def _location(pending: Pending) -> LocationFacts | None:
    row = pending.row()
    return None if row is None else _built(row[0])


def _versioned_location(pending: Pending) -> VersionedLocation | None:
    row = pending.row()
    return None if row is None else VersionedLocation(_built(row[0]), row[1])


@lru_cache(maxsize=512)
def _built(document: str) -> LocationFacts:
    """The facts of a document: equal documents are built once, and a changed one is another document."""
    return build_location(document)
