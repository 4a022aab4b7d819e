"""Months that were detached, reasons of emergency access sealed, and columns that nothing ever used."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SQL_FOLDER = Path(__file__).parent.parent / "sql" / "0003"


def upgrade() -> None:
    """Run the files of `sql/0003` in the order of their names."""
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_SQL_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text(encoding="utf-8"))
