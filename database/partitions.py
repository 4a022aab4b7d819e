"""Monthly partitions of `appointment` and `audit_event`: made ahead, detached when old, each reported.

A missing month never fails a booking: its rows go to the default partition and move when the month is made. So do
those of imported history, whose months are made afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import psycopg
from psycopg import sql

# Nothing may be booked to start later than 24 months from now; the audit is written now.
_MONTHS_AHEAD = {"appointment": 25, "audit_event": 3}
_MONTHS_BEHIND = 1
_STRAY_MONTHS_MAX = 24
_PARTITION_KEY = {"appointment": "start_ts_utc", "audit_event": "at"}
_LOCK_WAIT = "5s"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionReport:
    """The partitions made, those detached, and how many rows moved out of the default partitions."""

    created: list[str] = field(default_factory=list)
    detached: list[str] = field(default_factory=list)
    rows_moved: int = 0


def ensure_partitions(owner: psycopg.Connection[object], *, today: date | None = None) -> PartitionReport:
    """Make the partitions from last month to the horizon of each table that are missing, and those of older rows.

    Rows of months before, as an import brings them, are in the default partition until then; the oldest 24 such months
    are made, the next ones by the next run. Each is made in a transaction of its own, so that bookings wait for one
    table at most. Needs the owner.
    """
    first = _month(today or datetime.now(UTC).date())
    created: list[str] = []
    rows_moved = 0
    for parent, ahead in _MONTHS_AHEAD.items():
        existing = _partitions_of(owner, parent)
        begin = _plus_months(first, -_MONTHS_BEHIND)
        strays = _stray_months(owner, parent, before=begin)
        for month in (*strays, *_months(begin, ahead + _MONTHS_BEHIND + 1)):
            name = _name(parent, month)
            if name in existing:
                continue
            with owner.transaction():
                rows_moved += _create(owner, parent, name, month)
            created.append(name)
    return PartitionReport(created=created, rows_moved=rows_moved)


def detach_partitions(owner: psycopg.Connection[object], parent: str, *, before: date) -> PartitionReport:
    """Detach the months of `parent` that end at or before `before`; their tables stay, for archiving.

    Each is written down in `detached_month`: what points into it from other tables stays and is no fault.

    Which months are old enough is the retention table's to say (database/retention.py).
    """
    detached = []
    for name in sorted(_partitions_of(owner, parent)):
        month = _month_of(parent, name)
        if month is None or _plus_months(month, 1) > before:
            continue
        with owner.transaction():
            owner.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_WAIT))
            owner.execute(
                sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(
                    sql.Identifier(parent), sql.Identifier(name)
                )
            )
            if parent == "audit_event":
                _keep_append_only(owner, name)
            owner.execute(
                "INSERT INTO detached_month (parent, month) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (parent, month),
            )
        detached.append(name)
    return PartitionReport(detached=detached)


def _keep_append_only(owner: psycopg.Connection[object], name: str) -> None:
    """Give a detached month a row trigger of its own: the one that it had from its parent went with the parent."""
    owner.execute(
        sql.SQL(
            "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        ).format(sql.Identifier(name))
    )


def _create(owner: psycopg.Connection[object], parent: str, name: str, month: date) -> int:
    """Make, fill and attach one partition; returns the rows that came from the default partition."""
    lower, upper = _instant(month), _instant(_plus_months(month, 1))
    names = {
        "parent": sql.Identifier(parent),
        "new": sql.Identifier(name),
        "default": sql.Identifier(f"{parent}_default"),
        "key": sql.Identifier(_PARTITION_KEY[parent]),
        "lower": sql.Literal(lower),
        "upper": sql.Literal(upper),
    }
    owner.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_WAIT))
    owner.execute(sql.SQL("LOCK TABLE {parent} IN SHARE UPDATE EXCLUSIVE MODE").format(**names))
    # The default must hold no row of the month when it is attached, and let none in meanwhile.
    owner.execute(sql.SQL("LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE").format(**names))
    owner.execute(
        sql.SQL("CREATE TABLE {new} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(**names)
    )
    moved = _move_rows(owner, parent, names)
    owner.execute(
        sql.SQL("ALTER TABLE {parent} ATTACH PARTITION {new} FOR VALUES FROM ({lower}) TO ({upper})").format(
            **names
        )
    )
    owner.execute("SELECT fence_by_clinic(%s::regclass)", (name,))
    if parent == "audit_event":
        owner.execute("SELECT make_append_only(%s::regclass, row_trigger => false)", (name,))
    return moved


def _move_rows(owner: psycopg.Connection[object], parent: str, names: dict[str, sql.Composable]) -> int:
    trigger_off = sql.SQL("ALTER TABLE {default} DISABLE TRIGGER append_only").format(**names)
    trigger_on = sql.SQL("ALTER TABLE {default} ENABLE TRIGGER append_only").format(**names)
    if parent == "audit_event":
        owner.execute(trigger_off)
    moved = owner.execute(
        sql.SQL(
            "WITH gone AS (DELETE FROM {default} WHERE {key} >= {lower} AND {key} < {upper} RETURNING *)"
            " INSERT INTO {new} SELECT * FROM gone"
        ).format(**names)
    ).rowcount
    if parent == "audit_event":
        owner.execute(trigger_on)
    return moved


def _partitions_of(owner: psycopg.Connection[object], parent: str) -> set[str]:
    with owner.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = %s::regclass",
            (parent,),
        )
        found = {str(row[0]) for row in cursor.fetchall()}
    owner.commit()
    return found


def _stray_months(owner: psycopg.Connection[object], parent: str, *, before: date) -> list[date]:
    """The oldest months that the default partition has rows of.

    But for those that were detached, whose tables may still be there under their names.
    """
    names = {
        "default": sql.Identifier(f"{parent}_default"),
        "key": sql.Identifier(_PARTITION_KEY[parent]),
    }
    with owner.cursor(row_factory=psycopg.rows.scalar_row) as cursor:
        cursor.execute(
            sql.SQL(
                "SELECT DISTINCT date_trunc('month', {key} AT TIME ZONE 'UTC')::date FROM {default}"
                " WHERE {key} < %(before)s EXCEPT SELECT month FROM detached_month WHERE parent = %(parent)s"
                " ORDER BY 1 LIMIT %(most)s"
            ).format(**names),
            {"before": _instant(before), "parent": parent, "most": _STRAY_MONTHS_MAX},
        )
        found: list[date] = cursor.fetchall()
    owner.commit()
    return found


def _name(parent: str, month: date) -> str:
    return f"{parent}_{month:%Y_%m}"


def _month_of(parent: str, name: str) -> date | None:
    """The month of a partition's name; None for the default partition."""
    suffix = name.removeprefix(f"{parent}_")
    if suffix == "default":
        return None
    return datetime.strptime(suffix, "%Y_%m").replace(tzinfo=UTC).date()


def _month(day: date) -> date:
    return day.replace(day=1)


def _plus_months(month: date, count: int) -> date:
    index = month.year * 12 + month.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def _months(first: date, count: int) -> Iterator[date]:
    return (_plus_months(first, n) for n in range(count))


def _instant(month: date) -> datetime:
    return datetime(month.year, month.month, 1, tzinfo=UTC)
