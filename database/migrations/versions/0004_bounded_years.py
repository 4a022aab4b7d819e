"""Years that windows and closures may name, and rules that can be read."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SQL_FOLDER = Path(__file__).parent.parent / "sql" / "0004"


def upgrade() -> None:
    """Run the files of `sql/0004` in the order of their names."""
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_SQL_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text(encoding="utf-8"))
