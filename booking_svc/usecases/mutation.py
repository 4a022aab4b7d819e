"""One mutating call as one transaction: key, work, answer, commit; replayed, retried or refused as the case may be.

    BEGIN, clinic ── key row ── work (its savepoint, its attempts) ── answer ── COMMIT ── wake the relay
                       │              │
                       │              └ refused (409, 422): ROLLBACK TO SAVEPOINT, what is free instead,
                       │                the refusal becomes the stored answer, COMMIT
                       └ there already: the first answer again

The key row is the first write, so of two calls with one key the second waits for the first and then replays it.
The first run is hasty: it may leave locks to the last round trip, on a condition (see `taking`). When that does not
hold, the transaction is run again without haste.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import psycopg
import structlog

from booking_svc.model import Caller
from booking_svc.store.session import Key, Reply, Session
from booking_svc.usecases import refusals
from booking_svc.usecases.transactions import Transactions, domain_error
from chassis.failpoints import FailPoints
from database.failures import TRIES_MAX, backoff_s, is_connection_lost, is_overtaken, is_transient
from scheduling.errors import DomainError, Reason, Refused, Stale

_log = structlog.get_logger(__name__)

OutcomeT = TypeVar("OutcomeT")
OutcomeT_contra = TypeVar("OutcomeT_contra", contravariant=True)
AnswerT = TypeVar("AnswerT")

EXPIRIES_MAX: Final = 8
"""How often one call may stop to expire holds that ended."""

_DONE: Final = 0
_TABLE, _COLUMN = "idempotency_key", "response"


class Codec(Protocol[OutcomeT_contra, AnswerT]):
    """The answers of one method: made from an outcome, kept as bytes, read back as a replay."""

    def answer(self, outcome: OutcomeT_contra) -> AnswerT:
        """Return the answer to a new outcome."""
        ...

    def dump(self, answer: AnswerT) -> bytes:
        """Return the answer as bytes."""
        ...

    def replay(self, raw: bytes) -> AnswerT:
        """Return the answer that `dump` wrote, marked as a replay."""
        ...


Alternatives = Callable[[Session, DomainError], Awaitable[DomainError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation(Generic[OutcomeT, AnswerT]):
    """A mutating call.

    `work` queues and runs statements in a session that has begun; it sets the savepoint before the first thing that a
    refusal must undo. `alternatives` adds to a refusal what is free instead; it runs after that rollback.
    """

    caller: Caller
    clinic_id: str
    method: str
    fingerprint: bytes
    codec: Codec[OutcomeT, AnswerT]
    work: Callable[[Session], Awaitable[OutcomeT]]
    alternatives: Alternatives | None = None

    @property
    def key(self) -> Key | None:
        """The idempotency key in its scope, if the caller gave one."""
        if not self.caller.idempotency_key:
            return None
        return Key(self.caller.principal.subject, self.method, self.caller.idempotency_key, self.fingerprint)


class MetExpiredHolds(Exception):
    """The work met claims of holds that have ended; they are expired first, then it begins anew."""

    def __init__(self, appointment_ids: frozenset[str]) -> None:
        super().__init__(f"{len(appointment_ids)} expired holds are in the way")
        self.appointment_ids = appointment_ids


class _KeyIsThere(Exception):
    """An earlier call has used the key."""


class Observer(Protocol):
    """Sees what happens to mutations: metrics, and the relay that is woken after a commit."""

    def committed(self) -> None:
        """Something was committed that has an event."""
        ...

    def replayed(self) -> None:
        """A stored answer was given again."""
        ...

    def retried(self, cause: str) -> None:
        """A transaction begins anew."""
        ...

    def refused(self, refusal: DomainError) -> None:
        """A mutation was refused."""
        ...


Expire = Callable[[str, str], Awaitable[bool]]


class Mutations:
    """Runs mutations. `expire` (clinic id, hold id) ends a hold in a transaction of its own."""

    def __init__(
        self, transactions: Transactions, *, expire: Expire, observer: Observer, fail_points: FailPoints
    ) -> None:
        self._transactions = transactions
        self._expire = expire
        self._observer = observer
        self._fail_points = fail_points

    async def run(self, mutation: Mutation[OutcomeT, AnswerT]) -> AnswerT:
        """Return the answer, new or replayed. Raises the domain's errors."""
        expiries = 0
        attempt = 1
        is_hasty = True
        while True:
            try:
                return await self._once(mutation, is_hasty=is_hasty)
            except MetExpiredHolds as met:
                expiries += 1
                if expiries > EXPIRIES_MAX:
                    raise _too_contended() from met
                for hold_id in sorted(met.appointment_ids):
                    await self._expire(mutation.clinic_id, hold_id)
            except psycopg.Error as error:
                if is_hasty and is_overtaken(error):
                    is_hasty = False
                    self._observer.retried(str(error.sqlstate))
                    continue
                if attempt >= TRIES_MAX or not (is_transient(error) or is_connection_lost(error)):
                    raise domain_error(error) from error
                self._observer.retried(error.sqlstate or "connection")
                await asyncio.sleep(backoff_s(attempt))
                attempt += 1

    async def _once(self, mutation: Mutation[OutcomeT, AnswerT], *, is_hasty: bool) -> AnswerT:
        key = mutation.key
        async with self._transactions.session(mutation.clinic_id) as session:
            session.is_hasty = is_hasty
            session.begin()
            claimed = None if key is None else _claim(session, key)
            try:
                outcome = await mutation.work(session)
            except _KeyIsThere:
                assert key is not None  # noqa: S101 - only a key raises it
                return await self._replay(session, mutation, key)
            except psycopg.errors.LockNotAvailable:
                if claimed is not None and not claimed.is_there:
                    raise _still_running() from None
                raise
            except refusals.STORED as refusal:
                raise await self._refuse(session, mutation, key, refusal) from None
            return await self._commit(session, mutation, key, outcome)

    async def _commit(
        self, session: Session, mutation: Mutation[OutcomeT, AnswerT], key: Key | None, outcome: OutcomeT
    ) -> AnswerT:
        answer = mutation.codec.answer(outcome)
        if key is not None:
            session.store_answer(key, _DONE, _seal(session, key, mutation.codec.dump(answer)))
        await self._between_writes_and_commit(session)
        session.commit()
        await _finish(session)
        await self._fail_points.hit_async("booking.after_commit")
        self._observer.committed()
        return answer

    async def _between_writes_and_commit(self, session: Session) -> None:
        """Where crash tests stop: before the writes travel, or when the database has them all but the COMMIT."""
        await self._fail_points.hit_async("booking.before_commit")
        if self._fail_points.is_armed("booking.written"):
            await session.run()
            await self._fail_points.hit_async("booking.written")

    async def _refuse(
        self, session: Session, mutation: Mutation[OutcomeT, AnswerT], key: Key | None, refusal: DomainError
    ) -> DomainError:
        """Undo the attempt, keep the refusal as the answer, and return it with what is free instead."""
        self._observer.refused(refusal)
        if session.has_savepoint:
            session.rollback_to_savepoint()  # goes out before what is asked next
        if mutation.alternatives is not None:
            refusal = await mutation.alternatives(session, refusal)
        if key is not None:
            sealed = _seal(session, key, refusals.dump(refusal))
            session.store_answer(key, refusals.code_of(refusal), sealed)
        session.commit()
        await _finish(session)
        return refusal

    async def _replay(self, session: Session, mutation: Mutation[OutcomeT, AnswerT], key: Key) -> AnswerT:
        stored = session.stored_answer(key)
        await session.run()
        answer = stored.get()
        if answer is None or answer.response is None or answer.status_code is None:
            raise _still_running()
        if answer.fingerprint != key.fingerprint:
            raise Refused(
                "This idempotency key was used for another request.", reason=Reason.IDEMPOTENCY_KEY_REUSED
            )
        raw = session.cipher.open(answer.response, table=_TABLE, column=_COLUMN, row_id=_row_id(key))
        self._observer.replayed()
        if answer.status_code != _DONE:
            raise refusals.load(answer.status_code, raw)
        return mutation.codec.replay(raw)


def _claim(session: Session, key: Key) -> Reply[bool]:
    claimed = session.claim_key(key)

    def check() -> None:
        if not claimed.get():
            raise _KeyIsThere

    session.check_first_run(check)
    return claimed


async def _finish(session: Session) -> None:
    """Run the COMMIT. When the connection is lost meanwhile the outcome is unknown: the caller asks again."""
    try:
        await session.run()
    except psycopg.Error as error:
        if is_connection_lost(error):
            raise domain_error(error) from error
        raise


def _seal(session: Session, key: Key, raw: bytes) -> bytes:
    return session.cipher.seal(raw, table=_TABLE, column=_COLUMN, row_id=_row_id(key))


def _row_id(key: Key) -> str:
    return f"{key.principal}|{key.method}|{key.key}"


def _still_running() -> Stale:
    return Stale(
        "The first call with this idempotency key still runs; try again shortly.",
        reason=Reason.IDEMPOTENCY_IN_PROGRESS,
        retry_after_s=1.0,
    )


def _too_contended() -> Stale:
    return Stale(
        "Other bookings kept taking what was chosen; try again.",
        reason=Reason.CONCURRENT_BOOKING,
        retry_after_s=0.5,
    )
