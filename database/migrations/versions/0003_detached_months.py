"""Months that were detached, reasons of emergency access sealed, and columns that nothing ever used."""

from __future__ import annotations

from database.migrations.sql_files import run_files

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the revision's files."""
    run_files(revision)
