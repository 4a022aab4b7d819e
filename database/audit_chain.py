"""The hash chain over a clinic's audit rows: how a link is made, and what a broken one tells.

Each link is the SHA-256 of the link before it and of everything its row says, so a row that is changed, removed or
put between others no longer matches. Who owns the database can rewrite rows and chain alike; the heads that the sealer
logs, kept elsewhere, show that too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import Connection
from psycopg.rows import tuple_row

FIRST_LINK: Final = bytes(32)
"""What the first link of a clinic is chained to."""

LATE_MIN: Final = 10
"""Minutes that a row may be sealed after a later one: the sealer waits for whatever transaction may have older ones."""

# What a link covers of `audit_event e`, as texts, in the order in which `link` takes them.
_WORDS: Final[tuple[LiteralString, ...]] = (
    "e.id::text",
    "(extract(epoch FROM e.at) * 1000000)::bigint::text",
    "e.actor",
    "e.actor_role",
    "e.action",
    "e.entity_type",
    "e.entity_id::text",
    "e.outcome",
    "e.reason",
    "host(e.from_address)",
    "e.request_id",
    "e.before::text",
    "e.after::text",
)
_CONTENT: Final[LiteralString] = ", ".join(_WORDS)
_SAID: Final[LiteralString] = " || ".join(
    f"coalesce(octet_length(convert_to({word}, 'UTF8')) || ':' || {word}, '-')"
    for word in ("e.clinic_id::text", *_WORDS)
)
SEAL: Final[LiteralString] = f"""
WITH RECURSIVE covered AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY e.at, e.id) AS place, e.id, e.at, convert_to({_SAID}, 'UTF8') AS said
    FROM audit_event e
    WHERE e.clinic_id = %(clinic)s AND e.at BETWEEN %(first)s AND %(last)s AND e.id = ANY (%(ids)s::uuid[])
), chain AS (
    SELECT 0::bigint AS place, %(head)s::bytea AS hash
    UNION ALL
    SELECT c.place, sha256(chain.hash || c.said) FROM chain JOIN covered c ON c.place = chain.place + 1
), sealed AS (
    INSERT INTO audit_seal (clinic_id, seq, audit_event_id, audit_event_at, chain_hash)
    SELECT %(clinic)s, %(seq)s + c.place, c.id, c.at, chain.hash FROM chain JOIN covered c USING (place)
    RETURNING seq, chain_hash
)
SELECT seq, chain_hash FROM sealed ORDER BY seq DESC LIMIT 1
"""  # noqa: S608 - made of constants
"""Chain a clinic's rows `ids`, between the times `first` and `last`, on to its link `seq` with the hash `head`.

Answers the number and the hash of the last link. The hashes are those of `link`, which judges them: made where the rows
are, a row costs a fourth of what it does when its words travel.
"""

_CHAIN: Final[LiteralString] = f"""
SELECT s.seq, s.audit_event_id::text, s.audit_event_at, s.chain_hash, {_CONTENT}
FROM audit_seal s LEFT JOIN audit_event e
  ON e.clinic_id = s.clinic_id AND e.id = s.audit_event_id AND e.at = s.audit_event_at
WHERE s.clinic_id = %(clinic)s ORDER BY s.seq
"""  # noqa: S608 - made of constants
# Rows that no link covers: those that are new wait for the sealer, older ones were slipped in.
_UNSEALED: Final[LiteralString] = """
SELECT e.id::text, e.at, e.at < (SELECT max(audit_event_at) FROM audit_seal WHERE clinic_id = %(clinic)s)
    - %(late_min)s * interval '1 minute'
FROM audit_event e
WHERE e.clinic_id = %(clinic)s
  AND NOT EXISTS (SELECT FROM audit_seal s WHERE s.clinic_id = e.clinic_id AND s.audit_event_id = e.id)
ORDER BY e.at, e.id
"""
_ROWS_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """The first thing that does not fit: which audit row, its place in the chain if it has one, and what is wrong."""

    row_id: str
    at: datetime
    seq: int | None
    wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """One clinic's chain: how many rows it covers, how many wait for the sealer, its last link, and the first fault."""

    clinic_id: str
    sealed: int
    waiting: int
    head: bytes
    bad: BadRow | None


def link(previous: bytes, clinic_id: str, content: Sequence[object]) -> bytes:
    """The link of a row: `content` are the texts that it covers."""
    digest = hashlib.sha256(previous)
    for value in (clinic_id, *content):
        word = b"" if value is None else str(value).encode()
        digest.update(b"-" if value is None else b"%d:" % len(word))
        digest.update(word)
    return digest.digest()


def verify_chain(connection: Connection[Any], clinic_id: str) -> ChainReport:
    """Walk a clinic's chain from its first link; stops at the first fault.

    Rows of months that retention has detached are passed over where they belong: before all that is left. Memory is
    bounded. Needs a role that sees the clinic.
    """
    detached = _detached_months(connection)
    sealed, head, newest = 0, FIRST_LINK, None
    for seq, event_id, event_at, stored, *content in _rows(connection, _CHAIN, clinic_id):
        is_gone = content[0] is None
        wrong = _fault(head, clinic_id, content, stored=bytes(stored), is_next=seq == sealed + 1)
        if wrong and not (is_gone and _left(event_at, detached, newest)):
            bad = BadRow(row_id=event_id, at=event_at, seq=seq, wrong=wrong)
            return ChainReport(clinic_id=clinic_id, sealed=sealed, waiting=0, head=head, bad=bad)
        sealed, head = seq, bytes(stored)
        newest = newest if is_gone else max(event_at, newest or event_at)
    waiting, slipped_in = _unsealed(connection, clinic_id)
    return ChainReport(clinic_id=clinic_id, sealed=sealed, waiting=waiting, head=head, bad=slipped_in)


def _detached_months(connection: Connection[Any]) -> frozenset[date]:
    query = "SELECT month FROM detached_month WHERE parent = 'audit_event'"
    return frozenset(month for (month,) in connection.cursor(row_factory=tuple_row).execute(query).fetchall())


def _left(event_at: datetime, detached: frozenset[date], newest: datetime | None) -> bool:
    """Whether a row may have left with its month: it was detached, and no row before it is newer but for being late."""
    month = event_at.astimezone(UTC).date().replace(day=1)
    return month in detached and (newest is None or newest <= event_at + timedelta(minutes=LATE_MIN))


def _fault(
    head: bytes, clinic_id: str, content: Sequence[object], *, stored: bytes, is_next: bool
) -> str | None:
    if not is_next:
        return "links before it are missing"
    if content[0] is None:
        return "the row is gone, or its time was changed"
    if link(head, clinic_id, content) != stored:
        return "the row or its link was changed"
    return None


def _unsealed(connection: Connection[Any], clinic_id: str) -> tuple[int, BadRow | None]:
    waiting = 0
    for row_id, at, is_late in _rows(connection, _UNSEALED, clinic_id):
        if is_late:
            return waiting, BadRow(
                row_id=row_id, at=at, seq=None, wrong="the row was slipped in: no link covers it"
            )
        waiting += 1
    return waiting, None


def _rows(connection: Connection[Any], query: LiteralString, clinic_id: str) -> Iterator[tuple[Any, ...]]:
    with connection.cursor("audit_chain", row_factory=tuple_row) as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(query, {"clinic": clinic_id, "late_min": LATE_MIN})
        yield from cursor
