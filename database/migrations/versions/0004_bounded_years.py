"""Years that windows and closures may name, and rules that can be read."""

from __future__ import annotations

from database.migrations.sql_files import run_files

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the revision's files."""
    run_files(revision)
