"""Alembic environment, versions, and the SQL they run."""
