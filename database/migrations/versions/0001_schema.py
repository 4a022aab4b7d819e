"""The whole schema: directory, patients, booking, oversight, and the fence between clinics."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQL_FOLDER = Path(__file__).parent.parent / "sql" / "0001"


def upgrade() -> None:
    """Run the files of `sql/0001` in the order of their names.

    They go to the driver as they are: several statements at a time, without placeholders.
    """
    cursor = op.get_bind().connection.cursor()
    for path in sorted(_SQL_FOLDER.glob("*.sql")):
        cursor.execute(path.read_text(encoding="utf-8"))
