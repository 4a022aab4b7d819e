"""A migrated database for each test: cloned from a template that is made once per session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from database.migrate import migrate
from database.roles import APP_ROLE, WORKER_ROLE, enable_login, url_for

_TEMPLATE = "medforall_template"
_TEMPLATE_LOCK = 0x7465_6D70
ROLE_PASSWORD = "for-tests-only"


@dataclass(frozen=True, slots=True)
class MigratedDatabase:
    """A database of its own, empty but for the schema, as each of the three roles reaches it."""

    owner_url: str
    app_url: str
    worker_url: str


@contextmanager
def migrated_database(postgres_url: str) -> Iterator[MigratedDatabase]:
    """A clone of the template that is gone afterwards, with whoever is still connected to it."""
    _ensure_template(postgres_url)
    with empty_database(postgres_url, template=_TEMPLATE) as owner_url:
        yield MigratedDatabase(
            owner_url=owner_url,
            app_url=url_for(owner_url, APP_ROLE, ROLE_PASSWORD),
            worker_url=url_for(owner_url, WORKER_ROLE, ROLE_PASSWORD),
        )


@contextmanager
def empty_database(postgres_url: str, *, template: str = "template1") -> Iterator[str]:
    """A new database and its owner's URL."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    try:
        yield _database_url(postgres_url, name)
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _ensure_template(postgres_url: str) -> None:
    """Make the template unless another worker of this session has; the server ends with the session."""
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(%s)", (_TEMPLATE_LOCK,))
        if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_TEMPLATE,)).fetchone():
            return
        building = f"{_TEMPLATE}_building"
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(building)))
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(building)))
        migrate(_database_url(postgres_url, building))
        enable_login(postgres_url, app_password=ROLE_PASSWORD, worker_password=ROLE_PASSWORD)
        server.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(building), sql.Identifier(_TEMPLATE)
            )
        )


def _database_url(postgres_url: str, name: str) -> str:
    return make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
