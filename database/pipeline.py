"""One PostgreSQL connection that sends many statements in one round trip.

libpq's pipeline mode, driven directly: statements are queued without any system call, `run` sends all of them with
one write and reads all results. psycopg's cursors would cost a poll and a write for each statement, and would forget
every prepared statement at each ROLLBACK TO SAVEPOINT, which is an ordinary step here.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.abc import Transformer
from psycopg.adapt import Transformer as NewTransformer
from psycopg.errors import error_from_result

from database.session import configure, connection_arguments
from database.settings import DatabaseSettings

Value = (
    str
    | int
    | float
    | bool
    | bytes
    | None
    | Sequence[str]
    | Sequence[str | None]
    | Sequence[int]
    | Sequence[float]
    | Sequence[bool]
)
Row = tuple[Any, ...]

_TEXT: Final = pq.Format.TEXT
_BINARY: Final = pq.Format.BINARY
_OK: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)

_PLAIN: Final = re.compile(rb"(?!(?i:null)\Z)[0-9A-Za-z_-]+").fullmatch  # no quotes inside an array

_HEX: Final = re.compile(r"[0-9a-f-]+(,[0-9a-f-]+)*").fullmatch

# A booking's statements are prepared and look rows up by their keys: one plan fits all values, and left to itself the
# server would plan the reading of claims anew at each booking. What a caller may leave out is therefore no
# `$n IS NULL OR` where many rows are: such a list has a statement for each set of what is given.
PLAN_ONCE: Final = "SET plan_cache_mode = force_generic_plan"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """A statement with `$1` placeholders. `name` is unique: it names the prepared statement on the server."""

    name: str
    sql: str
    prepared_name: bytes = field(init=False)
    text: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Encode once."""
        object.__setattr__(self, "prepared_name", self.name.encode())
        object.__setattr__(self, "text", self.sql.encode())


class Pending:
    """The result of a queued statement, there once the pipeline has run."""

    __slots__ = ("_result", "_transformer", "prepares")

    def __init__(self, transformer: Transformer, prepares: bytes | None = None) -> None:
        self.prepares = prepares
        self._transformer = transformer
        self._result: pq.abc.PGresult | None = None

    def fill(self, result: pq.abc.PGresult) -> None:
        """Keep what the server has answered."""
        self._result = result

    @property
    def is_filled(self) -> bool:
        """Whether the server has answered; not when the statement failed or was skipped."""
        return self._result is not None

    def rows(self) -> list[Row]:
        """All rows."""
        assert self._result is not None, "the pipeline has not run"  # noqa: S101 - a defect of the caller
        self._transformer.set_pgresult(self._result)
        return self._transformer.load_rows(0, self._result.ntuples, tuple)

    def row(self) -> Row | None:
        """The first row, if there is one."""
        rows = self.rows()
        return rows[0] if rows else None


class Connection:
    """Statements go out together with `run`, in the order in which they were queued.

    `open` makes one that plans each statement once; one made of a connection plans as the server sees fit, which suits
    statements with a bound of their own (LIMIT $1).

    Transactions are the caller's: BEGIN, SAVEPOINT and COMMIT are statements like the others. After an error the
    rest of that run is skipped by the server, and the transaction block waits for its rollback.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        configure(connection)
        self._connection = connection
        self._pg = connection.pgconn
        self._transformer: Transformer = NewTransformer(connection)
        self._prepared: set[bytes] = set()
        self._queued: list[Pending] = []
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self.is_broken = False
        # The socket stays watched from one run to the next: beginning and ending that costs more than the waiting.
        self._watched: int | None = None
        self._ready_to_go: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, url: str, settings: DatabaseSettings, *, application_name: str) -> Connection:
        """Connect, to plan every statement once. Raises psycopg.OperationalError."""
        connection = await psycopg.AsyncConnection.connect(
            url, **connection_arguments(settings, application_name)
        )
        try:
            await connection.execute(PLAN_ONCE)
        except BaseException:
            await connection.close()
            raise
        return cls(connection)

    def queue(self, statement: Statement, *values: Value) -> Pending:
        """Add a statement to the next run."""
        if statement.prepared_name not in self._prepared:
            self._pg.send_prepare(statement.prepared_name, statement.text)
            self._prepared.add(statement.prepared_name)
            self._queued.append(Pending(self._transformer, statement.prepared_name))
        self._pg.send_query_prepared(
            statement.prepared_name,
            [value.encode() if type(value) is str else _encoded(value) for value in values],
            param_formats=_formats(values) if bytes in map(type, values) else None,  # None: all of them text
        )
        pending = Pending(self._transformer)
        self._queued.append(pending)
        return pending

    async def run(self) -> None:
        """Send what was queued and wait for every result; raises the first error, as psycopg's classes.

        A run that does not end, cancelled or cut off, leaves the connection broken.
        """
        queued, self._queued = self._queued, []
        self.is_broken = True
        try:
            self._pg.pipeline_sync()
            error = await self._receive(queued)
        except BaseException:
            # Before anybody opens a socket that gets the number of this one, which libpq may have closed.
            self._unwatch()
            raise
        self.is_broken = False
        if error is not None:
            raise error

    async def close(self) -> None:
        """Close the connection; the server rolls an open transaction back."""
        self.is_broken = True
        self._unwatch()
        await self._connection.close()

    @property
    def is_idle(self) -> bool:
        """Whether no transaction is open."""
        return self._pg.transaction_status == pq.TransactionStatus.IDLE

    async def _receive(self, queued: list[Pending]) -> psycopg.Error | None:
        """Read a result of each statement, with the mark of its end, and then the end of the run; the first error."""
        error: psycopg.Error | None = None
        await self._flushed()
        for pending in queued:
            if self._pg.is_busy():
                await self._more()
            failed = self._taken(pending, self._pg.get_result())
            error = error or failed
            if self._pg.is_busy():
                await self._more()
            self._pg.get_result()
        if self._pg.is_busy():
            await self._more()
        synced = self._pg.get_result()
        if synced is None or synced.status != pq.ExecStatus.PIPELINE_SYNC:
            raise psycopg.OperationalError("the server ended the connection")
        return error

    def _taken(self, pending: Pending, result: pq.abc.PGresult | None) -> psycopg.Error | None:
        """Keep what a statement was answered; the error, when it is one of its own."""
        if result is None:
            raise psycopg.OperationalError("the server ended the connection")
        if result.status in _OK:
            pending.fill(result)
            return None
        if pending.prepares is not None:
            self._prepared.discard(pending.prepares)
        if result.status == pq.ExecStatus.PIPELINE_ABORTED:
            return None
        return error_from_result(result, encoding="utf-8")

    async def _flushed(self) -> None:
        """Send everything, reading meanwhile: the server may stop to read until its answers are."""
        while self._pg.flush():
            await self._ready(write=True)
            self._pg.consume_input()

    async def _more(self) -> None:
        """Wait for a whole result."""
        while self._pg.is_busy():
            await self._ready(write=False)
            self._pg.consume_input()

    async def _ready(self, *, write: bool) -> None:
        """Wait until the server has sent something, or, with `write`, until more can be sent."""
        if self._is_readable():
            await asyncio.sleep(0)  # others have their turn while a long result comes in
            return
        loop, socket = asyncio.get_running_loop(), self._pg.socket
        self._ready_to_go = ready = loop.create_future()
        if self._watched is None:
            self._watched = socket
            loop.add_reader(socket, self._wake)
        if write:
            loop.add_writer(socket, _go, ready)
        try:
            await ready
        finally:
            if write:
                loop.remove_writer(socket)

    def _is_readable(self) -> bool:
        """Whether something is there to read, be it the end: a loop tells once only that a socket is broken."""
        looked_at = select.poll()
        looked_at.register(self._pg.socket, select.POLLIN)
        return bool(looked_at.poll(0))

    def _wake(self) -> None:
        """Let the run go on. What comes when nobody waits is left for the next run, and no longer watched for."""
        if self._ready_to_go is None or not _go(self._ready_to_go):
            self._unwatch()

    def _unwatch(self) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            asyncio.get_running_loop().remove_reader(watched)


def _go(ready: asyncio.Future[None]) -> bool:
    """Let whoever waits go on; False when nobody waits any more."""
    if ready.done():
        return False
    ready.set_result(None)
    return True


def _formats(values: Sequence[Value]) -> list[int]:
    return [_BINARY if isinstance(value, bytes) else _TEXT for value in values]


def _encoded(value: Value) -> bytes | None:
    """The value as PostgreSQL reads it: text, or plain bytes for bytea. Lists become arrays of plain words."""
    if isinstance(value, str):
        return value.encode()
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int | float):
        return repr(value).encode()
    return _array(value)


def _array(items: Sequence[str | None] | Sequence[float]) -> bytes:
    """The items as PostgreSQL reads an array. Lists of numbers, ids and hex words are long, and written at once."""
    kinds = set(map(type, items))
    if kinds <= {int, float}:
        return f"{{{','.join(map(repr, items))}}}".encode()
    if kinds == {str}:
        joined = ",".join(items)  # type: ignore[arg-type]
        if _HEX(joined) and joined.count(",") == len(items) - 1:
            return f"{{{joined}}}".encode()
    return b"{" + b",".join(map(_element, items)) + b"}"


def _element(item: str | float | bool | None) -> bytes:
    if item is None:
        return b"NULL"
    if not isinstance(item, str):
        return _encoded(item) or b""
    encoded = item.encode()
    if _PLAIN(encoded):
        return encoded
    return b'"' + encoded.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
