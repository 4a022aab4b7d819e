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
from database.audit_chain import CONTENT, FIRST_LINK, LATE_MIN, link
from database.transaction import Database, Transaction

_log = structlog.get_logger(__name__)

LEASE_NAME: Final = "audit-sealer"
# Few enough that the calls of this process do not notice when they are hashed.
_BATCH_ROWS: Final = 100
_LOOK_BACK_S: Final = 120.0
_WAIT_TOLD_S: Final = 60.0
# A row takes its time a moment before its transaction counts as one that writes.
_BEGUN_BEFORE: Final = timedelta(seconds=2)
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)

# Clinics with rows after their last link, or with rows so new that an older one may still come.
_CLINICS: Final[LiteralString] = """
SELECT c.id::text
FROM clinic c
CROSS JOIN LATERAL (SELECT at FROM audit_event WHERE clinic_id = c.id ORDER BY at DESC LIMIT 1) AS newest
LEFT JOIN LATERAL (
    SELECT audit_event_at AS at FROM audit_seal WHERE clinic_id = c.id ORDER BY seq DESC LIMIT 1) AS sealed ON true
WHERE sealed.at IS NULL OR newest.at > sealed.at OR newest.at > clock_timestamp() - %s * interval '1 minute'
ORDER BY c.id
"""
_HEAD: Final[LiteralString] = """
SELECT seq, chain_hash, (SELECT max(audit_event_at) FROM audit_seal WHERE clinic_id = %(clinic)s)
FROM audit_seal WHERE clinic_id = %(clinic)s ORDER BY seq DESC LIMIT 1
"""
# A moment, and a bound on the transactions that had begun to write before it: a statement begins before its snapshot.
_MOMENT: Final[LiteralString] = "SELECT statement_timestamp(), pg_snapshot_xmax(pg_current_snapshot())::text"
_IS_OVER: Final[LiteralString] = """
SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::xid8,
    extract(epoch FROM statement_timestamp() - %s::timestamptz)::float8
"""
_UNSEALED: Final[LiteralString] = f"""
SELECT e.at, {CONTENT}
FROM audit_event e
WHERE e.clinic_id = %(clinic)s AND e.at < %(until)s AND e.at >= %(since)s
  AND NOT EXISTS (SELECT FROM audit_seal s WHERE s.clinic_id = e.clinic_id AND s.audit_event_id = e.id)
ORDER BY e.at, e.id LIMIT %(limit)s
"""  # noqa: S608 - made of constants
_INSERT: Final[LiteralString] = """
INSERT INTO audit_seal (clinic_id, seq, audit_event_id, audit_event_at, chain_hash)
SELECT %s, sealed.seq, sealed.id, sealed.at, decode(sealed.hash, 'hex')
FROM unnest(%s::bigint[], %s::uuid[], %s::timestamptz[], %s::text[]) AS sealed (seq, id, at, hash)
"""


class AuditSealer:
    """Works while it holds the lease; hand `work` to a LeaseRunner.

    Rows are looked for from where the last ones were on, and every `look_back_s` among all that
    may still be sealed: a clock that was set back makes rows of the past.
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
        async with self._workers.worker() as tx:
            clinics = [clinic for (clinic,) in await tx.rows(_CLINICS, (LATE_MIN,))]
        self._forget(clinics)
        return sum([await self._seal_clinic(clinic_id, until) for clinic_id in clinics])

    def _forget(self, clinics: Sequence[str]) -> None:
        """Keep what is known of clinics with news alone, and nothing when it is time to look back."""
        known = self._sealed_until
        if self._clock_s() >= self._look_back_at_s:
            self._look_back_at_s = self._clock_s() + self._look_back_s
            known = {}
        self._sealed_until = {clinic_id: known[clinic_id] for clinic_id in clinics if clinic_id in known}

    async def _seal_clinic(self, clinic_id: str, until: datetime) -> int:
        sealed, batch = 0, _BATCH_ROWS
        while batch == _BATCH_ROWS:
            batch = await self._seal_batch(clinic_id, until)
            sealed += batch
        self._sealed_until[clinic_id] = until
        return sealed

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

    def _since(self, clinic_id: str, last_at: datetime | None) -> datetime:
        """The earliest time that a row without a link may have, when the latest link is of a row of `last_at`."""
        known = self._sealed_until.get(clinic_id)
        if known is not None:
            return known - _BEGUN_BEFORE
        return _FIRST if last_at is None else last_at - timedelta(minutes=LATE_MIN)

    async def _seal_batch(self, clinic_id: str, until: datetime) -> int:
        async with self._workers.worker() as tx:
            found = await tx.row(_HEAD, {"clinic": clinic_id})
            seq, head, last_at = found or (0, FIRST_LINK, None)
            since = self._since(clinic_id, last_at)
            wanted = {"clinic": clinic_id, "since": since, "until": until, "limit": _BATCH_ROWS}
            rows = await tx.rows(_UNSEALED, wanted)
            if rows:
                head = await _insert(tx, clinic_id, seq, bytes(head), rows)
        if rows:
            _log.info("audit.sealed", clinic_id=clinic_id, seq=seq + len(rows), head=head.hex())
        return len(rows)


async def _insert(
    tx: Transaction, clinic_id: str, seq: int, head: bytes, rows: list[tuple[Any, ...]]
) -> bytes:
    """Chain the rows on and return the last link."""
    hashes = []
    for _, *content in rows:
        head = link(head, clinic_id, content)
        hashes.append(head.hex())
    places = list(range(seq + 1, seq + len(rows) + 1))
    ids, times = [row[1] for row in rows], [row[0] for row in rows]
    await tx.send(_INSERT, (clinic_id, places, ids, times, hashes))
    return head
