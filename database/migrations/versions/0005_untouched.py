"""A booking in two round trips, and checks that cost it less."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SQL_FOLDER = Path(__file__).parent.parent / "sql" / "0005"


def upgrade() -> None:
    """Run the files of `sql/0005` in the order of their names."""
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_SQL_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text(encoding="utf-8"))
