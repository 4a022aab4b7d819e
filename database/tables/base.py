"""What the tables share: one MetaData, and the columns that most of them have.

Identifiers come back as lower-case strings, as everywhere else in the product.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, MetaData, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

ID = Uuid(as_uuid=False)
INSTANT = DateTime(timezone=True)
WALL_TIME = DateTime(timezone=False)


def clinic_id() -> Column[str]:
    """The first part of every key."""
    return Column("clinic_id", ID, primary_key=True)


def own_id() -> Column[str]:
    """The row's own id, unique within its clinic."""
    return Column("id", ID, primary_key=True)


def json_object(name: str) -> Column[dict[str, Any]]:
    """A JSON object, empty unless given."""
    return Column(name, JSONB, nullable=False, server_default=text("'{}'"))


def short_text(name: str) -> Column[str]:
    """A text that is empty unless given."""
    return Column(name, Text, nullable=False, server_default=text("''"))


def versioned() -> tuple[Column[Any], ...]:
    """The row's version (its ETag) and when it was made and last changed."""
    return (
        Column("version", BigInteger, nullable=False, server_default=text("1")),
        Column("created_at", INSTANT, nullable=False, server_default=text("now()")),
        Column("updated_at", INSTANT, nullable=False, server_default=text("now()")),
    )
