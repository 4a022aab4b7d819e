"""The whole schema: directory, patients, booking, oversight, and the fence between clinics."""

from __future__ import annotations

from database.migrations.sql_files import run_files

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the revision's files."""
    run_files(revision)
