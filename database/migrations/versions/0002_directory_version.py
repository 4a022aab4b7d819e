"""A version of each clinic's directory, and a bound on how long a claim may last."""

from __future__ import annotations

from database.migrations.sql_files import run_files

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the revision's files."""
    run_files(revision)
