"""The outbox as a queue: what is to be published next, what was, and what cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

_COLUMNS: Final = """e.id, e.event_id::text, e.clinic_id::text, e.aggregate_type, e.aggregate_id::text, e.event_type,
    e.payload, e.traceparent, e.attempts, e.created_at"""

# In the order of ids, which within an aggregate is the order of its versions: its row is locked before its event
# takes an id. An event that waits or is parked keeps back all later ones of its aggregate.
_NEXT: Final[LiteralString] = f"""
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
LIMIT %s
"""  # noqa: S608 - made of the constant above
_MARK_PUBLISHED: Final[LiteralString] = """
UPDATE outbox_event SET published_at = clock_timestamp(), last_error = NULL, next_attempt_at = NULL
WHERE id = ANY (%s)
"""
_PUT_OFF: Final[LiteralString] = """
UPDATE outbox_event SET attempts = attempts + 1, last_error = %(error)s,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(wait_s)s),
    parked_at = CASE WHEN attempts + 1 >= %(attempts_max)s THEN clock_timestamp() END
WHERE id = %(id)s
RETURNING parked_at IS NOT NULL
"""
_BACKLOG: Final[LiteralString] = """
SELECT count(*) FILTER (WHERE parked_at IS NULL), count(*) FILTER (WHERE parked_at IS NOT NULL),
    coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE parked_at IS NULL)), 0)::float8
FROM outbox_event WHERE published_at IS NULL
"""
_REDRIVE: Final[LiteralString] = """
UPDATE outbox_event SET parked_at = NULL, attempts = 0, next_attempt_at = NULL
WHERE published_at IS NULL AND parked_at IS NOT NULL AND (%(event_id)s::uuid IS NULL OR event_id = %(event_id)s)
"""
_PARKED: Final[LiteralString] = """
SELECT event_id::text, clinic_id::text, event_type, attempts, last_error, parked_at
FROM outbox_event WHERE published_at IS NULL AND parked_at IS NOT NULL ORDER BY id LIMIT %s
"""
_SINCE: Final[LiteralString] = f"""
SELECT {_COLUMNS} FROM outbox_event e
WHERE e.created_at >= %(since)s AND e.id > %(after)s AND (%(clinic_id)s::uuid IS NULL OR e.clinic_id = %(clinic_id)s)
  AND e.published_at IS NOT NULL
ORDER BY e.id LIMIT %(limit)s
"""  # noqa: S608 - made of the constant above


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
    """Reads and marks the outbox on a worker's connection in autocommit."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def next(self, limit: int) -> list[OutboxEvent]:
        """At most `limit` events that may go out now, oldest first."""
        cursor = await self._connection.execute(_NEXT, (limit,), prepare=True)
        return [_event(row) for row in await cursor.fetchall()]

    async def mark_published(self, events: Sequence[OutboxEvent]) -> None:
        """Say that these are out."""
        await self._connection.execute(_MARK_PUBLISHED, ([event.id for event in events],), prepare=True)

    async def put_off(self, event: OutboxEvent, error: str, wait_s: float, attempts_max: int) -> bool:
        """Try again after `wait_s`, or park it when it was tried often enough; True when it is parked now."""
        parameters = {"id": event.id, "error": error[:500], "wait_s": wait_s, "attempts_max": attempts_max}
        row = await (await self._connection.execute(_PUT_OFF, parameters)).fetchone()
        return bool(row and row[0])

    async def backlog(self) -> Backlog:
        """How much waits."""
        row = await (await self._connection.execute(_BACKLOG)).fetchone()
        return Backlog(*(row or (0, 0, 0.0)))

    async def parked(self, limit: int) -> list[ParkedEvent]:
        """The parked events, oldest first."""
        return [
            ParkedEvent(*row) for row in await (await self._connection.execute(_PARKED, (limit,))).fetchall()
        ]

    async def redrive(self, event_id: str | None = None) -> int:
        """Let one parked event, or all, be tried again; how many."""
        return (await self._connection.execute(_REDRIVE, {"event_id": event_id})).rowcount

    async def published_since(
        self, since: datetime, *, after: int, limit: int, clinic_id: str | None = None
    ) -> list[OutboxEvent]:
        """Published events made at `since` or later, with ids above `after`, oldest first."""
        parameters = {"since": since, "after": after, "limit": limit, "clinic_id": clinic_id}
        return [_event(row) for row in await (await self._connection.execute(_SINCE, parameters)).fetchall()]


def _event(row: Sequence[Any]) -> OutboxEvent:
    return OutboxEvent(*row)
