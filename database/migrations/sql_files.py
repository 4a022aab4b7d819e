"""Revisions that are SQL files."""

from __future__ import annotations

from pathlib import Path

from alembic import op

_FOLDER = Path(__file__).parent / "sql"


def run_files(revision: str) -> None:
    """Run the files of `sql/<revision>` in the order of their names, on the connection that is migrated.

    They go to the driver as they are: several statements at a time, without placeholders.
    """
    cursor = op.get_bind().connection.cursor()
    for path in sorted((_FOLDER / revision).glob("*.sql")):
        cursor.execute(path.read_text(encoding="utf-8"))
