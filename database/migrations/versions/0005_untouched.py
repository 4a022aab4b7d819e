"""A booking in two round trips, and checks that cost it less."""

from __future__ import annotations

from database.migrations.sql_files import run_files

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the revision's files."""
    run_files(revision)
