"""Seals audit rows into their clinics' hash chains; one process at a time, beside the calls.

A chain inside the bookings' own transactions would make all bookings of a clinic wait for each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString

import structlog

from chassis.leases import Lease
from database.audit_chain import FIRST_LINK, LATE_MIN, SEAL
from database.transaction import Database, Transaction

_log = structlog.get_logger(__name__)

LEASE_NAME: Final = "audit-sealer"
# Rows a transaction: enough that the questions around them cost little, few enough that it is over in some 20 ms.
_PAGE_ROWS: Final = 250
_LOOK_BACK_S: Final = 300.0
_WAIT_TOLD_S: Final = 60.0
# A row takes its time a moment before its transaction counts as one that writes.
_BEGUN_BEFORE: Final = timedelta(seconds=2)
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_BEFORE_ALL: Final = "00000000-0000-0000-0000-000000000000"

# Clinics with rows after their last link, or, when it is looked back, with rows so new that an older one may have come.
_CLINICS: Final[LiteralString] = """
SELECT c.id::text
FROM clinic c
CROSS JOIN LATERAL (SELECT at FROM audit_event WHERE clinic_id = c.id ORDER BY at DESC LIMIT 1) AS newest
LEFT JOIN LATERAL (
    SELECT audit_event_at AS at FROM audit_seal WHERE clinic_id = c.id ORDER BY seq DESC LIMIT 1) AS sealed ON true
WHERE sealed.at IS NULL OR newest.at > sealed.at
    OR (%(looks_back)s AND newest.at > clock_timestamp() - %(late_min)s * interval '1 minute')
ORDER BY c.id
"""
_HEAD: Final[LiteralString] = """
SELECT seq, chain_hash, max(audit_event_at) OVER ()
FROM (SELECT seq, chain_hash, audit_event_at FROM audit_seal WHERE clinic_id = %(clinic)s ORDER BY seq DESC LIMIT 50)
    AS latest
ORDER BY seq DESC LIMIT 1
"""
# A moment, and a bound on the transactions that had begun to write before it: a statement begins before its snapshot.
_MOMENT: Final[LiteralString] = "SELECT statement_timestamp(), pg_snapshot_xmax(pg_current_snapshot())::text"
_IS_OVER: Final[LiteralString] = """
SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::xid8,
    extract(epoch FROM statement_timestamp() - %s::timestamptz)::float8
"""
_PAGE: Final[LiteralString] = """
SELECT e.at, e.id::text
FROM audit_event e
WHERE e.clinic_id = %(clinic)s AND e.at < %(until)s
  AND e.at >= %(at)s AND (e.at, e.id) > (%(at)s, %(id)s::uuid)
ORDER BY e.at, e.id LIMIT %(limit)s
"""
# Asked apart: as one statement it is joined in ways that take seconds, for as long as the server knows little of both.
_SEALED: Final[LiteralString] = """
SELECT audit_event_id::text FROM audit_seal WHERE clinic_id = %s AND audit_event_id = ANY (%s::uuid[])
"""


class AuditSealer:
    """Works while it holds the lease; hand `work` to a LeaseRunner.

    Rows are looked for from where the last ones were on, and every `look_back_s` among all that may still be sealed: a
    clock that was set back makes rows of the past.
    A wait for an old transaction is logged each time that it has become longer by `wait_told_s`.
    """

    def __init__(
        self,
        workers: Database,
        *,
        every_s: float,
        wait_told_s: float = _WAIT_TOLD_S,
        look_back_s: float = _LOOK_BACK_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._every_s = every_s
        self._complete_until: datetime | None = None
        self._moment: tuple[datetime, str] | None = None
        self._sealed_until: dict[str, datetime] = {}
        self._clock_s = clock_s
        self._look_back_s = look_back_s
        self._look_back_at_s = 0.0
        self._wait_told_s = wait_told_s
        self._tell_at_s = wait_told_s

    async def work(self, lease: Lease) -> None:
        """Seal until cancelled. Raises Unavailable when the database is away."""
        del lease
        while True:
            await self.seal()
            await asyncio.sleep(self._every_s)

    async def seal(self) -> int:
        """Seal what no running transaction can come before; how many rows that were."""
        until = await self._complete()
        if until is None:
            return 0
        looks_back = self._clock_s() >= self._look_back_at_s
        if looks_back:
            self._sealed_until.clear()
        async with self._workers.worker() as tx:
            wanted = {"looks_back": looks_back, "late_min": LATE_MIN}
            clinics = [clinic for (clinic,) in await tx.rows(_CLINICS, wanted)]
        sealed = sum([await self._seal_clinic(clinic_id, until) for clinic_id in clinics])
        if looks_back:
            self._look_back_at_s = self._clock_s() + self._look_back_s
        return sealed

    async def _seal_clinic(self, clinic_id: str, until: datetime) -> int:
        sealed, place = 0, None
        while True:
            page, count = await self._seal_page(clinic_id, place, until)
            sealed += count
            if len(page) < _PAGE_ROWS:
                self._sealed_until[clinic_id] = until
                return sealed
            place = page[-1]

    async def _complete(self) -> datetime | None:
        """The latest moment known before which no row will appear any more; None while there is none.

        Rows have the time they are written at, and appear when their transaction ends, which may be much later. So a
        moment is noted, and waited for until every transaction that had begun to write by then is over.
        """
        if self._moment is None:
            async with self._workers.worker() as tx:
                self._moment = await tx.row(_MOMENT)
                self._tell_at_s = self._wait_told_s
        if self._moment is not None:
            moment, first_later = self._moment
            async with self._workers.worker() as tx:
                is_over, waited_s = await tx.row(_IS_OVER, (first_later, moment)) or (False, 0.0)
            if is_over:
                self._complete_until, self._moment = moment, None
            elif waited_s >= self._tell_at_s:
                self._tell_at_s = waited_s + self._wait_told_s
                _log.warning("audit.sealing_waits", waited_s=round(waited_s))
        return self._complete_until

    def _since(self, clinic_id: str, last_at: datetime | None, until: datetime) -> datetime:
        """The earliest time that a row without a link may have, when the latest link is of a row of `last_at`."""
        late, since = timedelta(minutes=LATE_MIN), _FIRST
        known = self._sealed_until.get(clinic_id)
        if known is not None:
            since = known - _BEGUN_BEFORE
        elif last_at is not None:
            since = last_at - late
        # Later than all that is complete: the clock was set back, and begins anew somewhere before.
        return since if since <= until else until - late

    async def _seal_page(
        self, clinic_id: str, place: Sequence[Any] | None, until: datetime
    ) -> tuple[list[tuple[Any, ...]], int]:
        """Seal what has no link in the page of rows after a place (time, id); the page, and how many that were."""
        async with self._workers.worker() as tx:
            seq, head, last_at = await tx.row(_HEAD, {"clinic": clinic_id}) or (0, FIRST_LINK, None)
            at, row_id = place or (self._since(clinic_id, last_at, until), _BEFORE_ALL)
            wanted = {"clinic": clinic_id, "at": at, "id": row_id, "until": until, "limit": _PAGE_ROWS}
            page = await tx.rows(_PAGE, wanted)
            rows = await _without_link(tx, clinic_id, page)
            if rows:
                seq, head = await _chain_on(tx, clinic_id, seq, head, rows)
        if rows:
            _log.info("audit.sealed", clinic_id=clinic_id, seq=seq, head=bytes(head).hex())
        return page, len(rows)


async def _without_link(
    tx: Transaction, clinic_id: str, page: list[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    if not page:
        return []
    sealed = {row_id for (row_id,) in await tx.rows(_SEALED, (clinic_id, [row[1] for row in page]))}
    return [row for row in page if row[1] not in sealed]


async def _chain_on(
    tx: Transaction, clinic_id: str, seq: int, head: bytes, rows: list[tuple[Any, ...]]
) -> tuple[int, bytes]:
    """Seal the rows; the number and the hash of the last link."""
    times, ids = zip(*rows, strict=True)
    wanted = {
        "clinic": clinic_id,
        "first": times[0],
        "last": times[-1],
        "ids": list(ids),
        "seq": seq,
        "head": head,
    }
    last = await tx.row(SEAL, wanted)
    if last is None or last[0] != seq + len(rows):
        raise RuntimeError("rows of the audit are gone while they are sealed")
    return last[0], last[1]
