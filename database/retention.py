"""How long each kind of row is kept: one table, and the maintenance that enforces it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from psycopg import Connection

from database.partitions import PartitionReport, detach_partitions, ensure_partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Rows that are deleted once they are `days` old: those for which `age` holds."""

    what: str
    table: str
    days: int
    age: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMonths:
    """A partitioned table whose months are detached, for archiving, once they ended `months` ago."""

    what: str
    table: str
    months: int


RETENTION: Final = (
    Kept(what="claims after their end", table="claim", days=7, age="ends_at < {before}"),
    Kept(what="idempotency keys", table="idempotency_key", days=3, age="created_at < {before}"),
    Kept(what="published events", table="outbox_event", days=14, age="published_at < {before}"),
    Kept(
        what="daily quotas",
        table="resource",
        days=35,
        age="kind = 'quota' AND quota_day < ({before})::date"
        " AND NOT EXISTS (SELECT FROM claim WHERE claim.clinic_id = resource.clinic_id"
        " AND claim.resource_id = resource.id)",
    ),
)
RETENTION_MONTHS: Final = (
    KeptMonths(what="audit", table="audit_event", months=72),
    KeptMonths(what="appointments", table="appointment", months=120),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
    """What one run did: rows deleted by table, and partitions made and detached."""

    deleted: dict[str, int]
    partitions: PartitionReport


def maintain(owner: Connection[Any], *, today: date | None = None) -> MaintenanceReport:
    """Make partitions ahead, delete what has been kept long enough, detach old months; harmless to repeat.

    Each clinic's rows of a table go in a transaction of their own. `owner` is the migrations' role.
    """
    day = today or datetime.now(UTC).date()
    made = ensure_partitions(owner, today=day)
    detached = [
        name
        for kept in RETENTION_MONTHS
        for name in detach_partitions(owner, kept.table, before=_months_before(day, kept.months)).detached
    ]
    deleted = {kept.table: _delete_old(owner, kept, day) for kept in RETENTION}
    partitions = PartitionReport(created=made.created, detached=detached, rows_moved=made.rows_moved)
    return MaintenanceReport(deleted=deleted, partitions=partitions)


def _delete_old(owner: Connection[Any], kept: Kept, today: date) -> int:
    clinics = owner.execute("SELECT id FROM clinic ORDER BY id").fetchall()
    owner.commit()
    condition = kept.age.format(before="%(today)s::timestamptz - %(days)s * interval '1 day'")
    statement = f"DELETE FROM {kept.table} WHERE clinic_id = %(clinic)s AND {condition}"  # noqa: S608 - ours
    deleted = 0
    for (clinic,) in clinics:
        with owner.transaction():
            values = {"today": today, "days": kept.days, "clinic": clinic}
            deleted += owner.execute(statement.encode(), values).rowcount
    return deleted


def _months_before(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)
