"""What a failure of PostgreSQL means: try again, give up for now, or a bug."""

from __future__ import annotations

import random
from typing import Final

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from scheduling.errors import DomainError, Exhausted, Reason, Stale, Unavailable

TRIES_MAX: Final = 4
"""A transaction is tried once, and again at most three times."""

_BACKOFF_FIRST_S = 0.01
_RETRY_AFTER_S = 1.0

_OVERTAKEN: Final = "MF001"

_LOST = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.DatabaseDropped,
    errors.IdleInTransactionSessionTimeout,
    errors.TooManyConnections,
    PoolClosed,
)


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may well succeed when it is run again at once."""
    return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure)


def is_overtaken(error: psycopg.Error) -> bool:
    """Whether `require_untouched` has ended the transaction: what was judged has changed before it was locked."""
    return error.sqlstate == _OVERTAKEN


def is_connection_lost(error: BaseException) -> bool:
    """Whether the connection, or the server behind it, went away."""
    if isinstance(error, _LOST):
        return True
    # libpq's own failures carry no SQLSTATE; an aborted pipeline neither, but it only follows another one.
    return (
        isinstance(error, psycopg.OperationalError)
        and error.sqlstate is None
        and not isinstance(error, errors.PipelineAborted | PoolTimeout | TooManyRequests)
    )


def backoff_s(attempt: int) -> float:
    """How long to wait before attempt `attempt` + 1, with full jitter: at most 10, 20, 40 ms."""
    return random.uniform(0.001, _BACKOFF_FIRST_S * 2 ** (attempt - 1))  # noqa: S311 - jitter, not a secret


def translated(error: psycopg.Error, *, is_busy: bool = False) -> DomainError | None:
    """The domain's word for a failure of the database itself; None for one that is a bug or a constraint.

    `is_busy` tells a pool whose connections are all in use from one that cannot get any.
    """
    if isinstance(error, TooManyRequests) or (isinstance(error, PoolTimeout) and is_busy):
        return Exhausted(
            "Too many calls wait for the database.", reason=Reason.OVERLOADED, retry_after_s=_RETRY_AFTER_S
        )
    if isinstance(error, PoolTimeout) or is_connection_lost(error):
        return Unavailable("The database is away.", retry_after_s=_RETRY_AFTER_S)
    if isinstance(error, errors.QueryCanceled):
        return Unavailable("The database took too long.", retry_after_s=_RETRY_AFTER_S)
    if isinstance(error, errors.LockNotAvailable) or is_transient(error):
        return Stale("Others are changing the same thing; try again.", retry_after_s=_RETRY_AFTER_S)
    return None
