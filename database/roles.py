"""The two roles of the services: give them passwords and LOGIN, and make URLs for them."""

from __future__ import annotations

import psycopg
from psycopg import sql
from sqlalchemy import make_url

APP_ROLE = "medforall_app"
WORKER_ROLE = "medforall_worker"


def enable_login(owner_url: str, *, app_password: str, worker_password: str) -> None:
    """Let both roles log in with these passwords, and with no more rights than the migrations gave them.

    Safe to repeat. The passwords reach the server as SCRAM verifiers, so that they are in none of its logs.
    """
    with psycopg.connect(owner_url, connect_timeout=5) as connection:
        for role, password in ((APP_ROLE, app_password), (WORKER_ROLE, worker_password)):
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD {}").format(
                    sql.Identifier(role), verifier.decode()
                )
            )


def url_for(owner_url: str, role: str, password: str) -> str:
    """The same server and database as `owner_url`, as another role."""
    return make_url(owner_url).set(username=role, password=password).render_as_string(hide_password=False)
