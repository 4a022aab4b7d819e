"""A version of each clinic's directory, and a bound on how long a claim may last."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQL_FOLDER = Path(__file__).parent.parent / "sql" / "0002"


def upgrade() -> None:
    """Run the files of `sql/0002` in the order of their names."""
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_SQL_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text(encoding="utf-8"))
