"""The outbox as a queue: what is to be published next, what was, and what cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from database.pipeline import Connection, Pending, Statement, Value

_COLUMNS: Final = """
    e.id, e.event_id::text, e.clinic_id::text, e.aggregate_type, e.aggregate_id::text, e.event_type, e.payload,
    e.traceparent, e.attempts, e.created_at
"""

_WITHOUT_WAITING: Final = Statement("without_waiting", "SET synchronous_commit TO off")
# In the order of ids, which within an aggregate is the order of its versions: its row is locked before its event
# takes an id. An event that waits or is parked keeps back all later ones of its aggregate.
_NEXT: Final = Statement(
    "next_events",
    f"""
    SELECT {_COLUMNS}
    FROM outbox_event e
    WHERE e.published_at IS NULL AND e.parked_at IS NULL
      AND (e.next_attempt_at IS NULL OR e.next_attempt_at <= clock_timestamp())
      AND NOT EXISTS (
          SELECT FROM outbox_event b
          WHERE b.clinic_id = e.clinic_id AND b.aggregate_type = e.aggregate_type AND b.aggregate_id = e.aggregate_id
            AND b.id < e.id AND b.published_at IS NULL
            AND (b.parked_at IS NOT NULL OR b.next_attempt_at > clock_timestamp()))
    ORDER BY e.id
    LIMIT $1
    """,  # noqa: S608 - made of the constant above
)
_MARK_PUBLISHED: Final = Statement(
    "mark_published",
    """
    UPDATE outbox_event SET published_at = clock_timestamp(), last_error = NULL, next_attempt_at = NULL
    WHERE id = ANY ($1)
    """,
)
_PUT_OFF: Final = Statement(
    "put_off",
    """
    UPDATE outbox_event SET attempts = attempts + 1, last_error = $2,
        next_attempt_at = clock_timestamp() + make_interval(secs => $3),
        parked_at = CASE WHEN attempts + 1 >= $4 THEN clock_timestamp() END
    WHERE id = $1
    RETURNING parked_at IS NOT NULL
    """,
)
_BACKLOG: Final = Statement(
    "backlog",
    """
    SELECT count(*) FILTER (WHERE parked_at IS NULL), count(*) FILTER (WHERE parked_at IS NOT NULL),
        coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE parked_at IS NULL)), 0)::float8
    FROM outbox_event WHERE published_at IS NULL
    """,
)
_REDRIVE: Final = Statement(
    "redrive",
    """
    WITH redriven AS (
        UPDATE outbox_event SET parked_at = NULL, attempts = 0, next_attempt_at = NULL
        WHERE published_at IS NULL AND parked_at IS NOT NULL AND ($1::uuid IS NULL OR event_id = $1)
        RETURNING id
    )
    SELECT count(*) FROM redriven
    """,
)
_PARKED: Final = Statement(
    "parked",
    """
    SELECT event_id::text, clinic_id::text, event_type, attempts, last_error, parked_at
    FROM outbox_event WHERE published_at IS NULL AND parked_at IS NOT NULL ORDER BY id LIMIT $1
    """,
)
_SINCE: Final = Statement(
    "published_since",
    f"""
    SELECT {_COLUMNS} FROM outbox_event e
    WHERE e.created_at >= $1 AND e.id > $2 AND ($3::uuid IS NULL OR e.clinic_id = $3) AND e.published_at IS NOT NULL
    ORDER BY e.id LIMIT $4
    """,  # noqa: S608 - made of the constant above
)


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """A row of the outbox: the event's bytes and where they go."""

    id: int
    event_id: str
    clinic_id: str
    aggregate_type: str
    aggregate_id: str
    event_type: str
    payload: bytes
    traceparent: str | None
    attempts: int
    created_at: datetime

    @property
    def aggregate(self) -> tuple[str, str]:
        """What its order belongs to."""
        return self.aggregate_type, self.aggregate_id


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits: events on their way, parked ones, and the age of the oldest on its way."""

    waiting: int
    parked: int
    oldest_age_s: float


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that was given up for now, and why."""

    event_id: str
    clinic_id: str
    event_type: str
    attempts: int
    last_error: str
    parked_at: datetime


class OutboxQueue:
    """Reads and marks the outbox, each call in a transaction of its own, on a worker's connection.

    Every method raises psycopg's errors.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def let_marks_be_lost(self) -> None:
        """Do not wait for the disk: a mark that is lost in a crash only means one more, harmless, publication."""
        await self._ask(_WITHOUT_WAITING)

    async def next(self, limit: int) -> list[OutboxEvent]:
        """At most `limit` events that may go out now, oldest first."""
        return [_event(row) for row in (await self._ask(_NEXT, limit)).rows()]

    async def mark_published(self, events: Sequence[OutboxEvent]) -> None:
        """Say that these are out."""
        await self._ask(_MARK_PUBLISHED, [event.id for event in events])

    async def put_off(self, event: OutboxEvent, error: str, wait_s: float, attempts_max: int) -> bool:
        """Try again after `wait_s`, or park it when it was tried often enough; True when it is parked now."""
        row = (await self._ask(_PUT_OFF, event.id, error[:500], wait_s, attempts_max)).row()
        return bool(row and row[0])

    async def backlog(self) -> Backlog:
        """How much waits."""
        return Backlog(*((await self._ask(_BACKLOG)).row() or (0, 0, 0.0)))

    async def parked(self, limit: int) -> list[ParkedEvent]:
        """The parked events, oldest first."""
        return [ParkedEvent(*row) for row in (await self._ask(_PARKED, limit)).rows()]

    async def redrive(self, event_id: str | None = None) -> int:
        """Let one parked event, or all, be tried again; how many."""
        return int((await self._ask(_REDRIVE, event_id)).rows()[0][0])

    async def published_since(
        self, since: datetime, *, after: int, limit: int, clinic_id: str | None = None
    ) -> list[OutboxEvent]:
        """Published events made at `since` or later, with ids above `after`, oldest first."""
        pending = await self._ask(_SINCE, since.isoformat(), after, clinic_id, limit)
        return [_event(row) for row in pending.rows()]

    async def _ask(self, statement: Statement, *values: Value) -> Pending:
        pending = self._connection.queue(statement, *values)
        await self._connection.run()
        return pending


def _event(row: Sequence[Any]) -> OutboxEvent:
    return OutboxEvent(*row)
