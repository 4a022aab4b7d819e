"""One connection and many statements in one round trip: whatever becomes of them, the next run begins clean."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from database.pipeline import Connection, Statement
from tests.support.servers import Servers

_ECHO = Statement("echo_text", "SELECT $1::text")
_DIVIDE = Statement("divide", "SELECT 12 / $1::integer")
_END = Statement("end_another", "SELECT pg_terminate_backend($1::integer)")
_OWN_PID = Statement("own_pid", "SELECT pg_backend_pid()")
_WRONG = Statement("wrong", "SELECT no_such_column")


@pytest.fixture
async def connection(servers: Servers) -> AsyncIterator[Connection]:
    """A connection of its own."""
    made = await opened(servers)
    yield made
    await made.close()


async def opened(servers: Servers) -> Connection:
    return Connection(await psycopg.AsyncConnection.connect(servers.postgres_url, autocommit=True))


async def assert_broken(connection: Connection) -> None:
    """The next run raises OperationalError, and then the connection says that it is broken."""
    connection.queue(_ECHO, "anybody")
    with pytest.raises(psycopg.OperationalError):
        await connection.run()
    assert connection.is_broken


async def test_a_run_is_larger_than_every_buffer(connection: Connection) -> None:
    """Forty megabytes each way in one run: neither side waits for ever until the other one reads."""
    words = [f"{place:05}" * 4_000 for place in range(2_000)]
    replies = [connection.queue(_ECHO, word) for word in words]
    await connection.run()
    assert [reply.rows()[0][0] for reply in replies] == words


async def test_what_stands_behind_an_error_is_skipped(connection: Connection) -> None:
    """The first error is raised, what was answered before it stays, and the next run is answered whole."""
    before = [connection.queue(_DIVIDE, divisor) for divisor in (1, 2, 3)]
    wrong = connection.queue(_DIVIDE, 0)
    behind = [connection.queue(_ECHO, "never"), connection.queue(_WRONG)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        await connection.run()
    assert [reply.rows()[0][0] for reply in before] == [12, 6, 4]
    assert not any(reply.is_filled for reply in (wrong, *behind))
    assert not connection.is_broken
    again = [connection.queue(_ECHO, "now"), connection.queue(_DIVIDE, 4)]
    await connection.run()
    assert [reply.rows()[0][0] for reply in again] == ["now", 3]


async def test_a_statement_that_cannot_be_prepared_is_prepared_anew(connection: Connection) -> None:
    """A wrong statement fails each time it is sent, and breaks none of the others."""
    for _ in range(2):
        connection.queue(_WRONG)
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await connection.run()
    reply = connection.queue(_ECHO, "well")
    await connection.run()
    assert reply.rows() == [("well",)]


async def test_a_connection_that_ended_is_broken(servers: Servers, connection: Connection) -> None:
    """The run after the server has ended the session raises OperationalError, and the connection says it is broken."""
    other = await opened(servers)
    try:
        pid = other.queue(_OWN_PID)
        await other.run()
        ended = connection.queue(_END, pid.rows()[0][0])
        await connection.run()
        assert ended.rows() == [(True,)]
        await assert_broken(other)
    finally:
        await other.close()


async def keep_busy() -> None:
    """Let the loop come to its sockets seldom, so that it finds them readable and writable at once."""
    while True:
        time.sleep(0.02)  # noqa: ASYNC251 - that is what keeps it busy
        await asyncio.sleep(0)


async def test_nothing_waits_to_send_after_a_run(servers: Servers) -> None:
    """Where answers come while more is still to be sent, the socket is watched for sending until then and no longer."""
    psycopg_connection = await psycopg.AsyncConnection.connect(servers.postgres_url, autocommit=True)
    socket, word = psycopg_connection.fileno(), "12345" * 20_000
    made, busy = Connection(psycopg_connection), asyncio.create_task(keep_busy())
    try:
        for _ in range(5):
            replies = [made.queue(_ECHO, word) for _ in range(100)]
            await made.run()
            assert all(reply.is_filled for reply in replies)
            assert not asyncio.get_running_loop().remove_writer(socket)
    finally:
        busy.cancel()
        await made.close()


async def test_a_session_that_ends_unused_keeps_nobody_busy(servers: Servers, connection: Connection) -> None:
    """What the server says while nobody waits is not watched for any more, and the next run raises OperationalError."""
    psycopg_connection = await psycopg.AsyncConnection.connect(servers.postgres_url, autocommit=True)
    socket, pid = psycopg_connection.fileno(), psycopg_connection.info.backend_pid
    other = Connection(psycopg_connection)
    try:
        other.queue(_ECHO, "watched from now on")
        await other.run()
        connection.queue(_END, pid)
        await connection.run()
        await asyncio.to_thread(select.select, [socket], [], [], 10)
        await asyncio.sleep(0)
        assert not asyncio.get_running_loop().remove_reader(socket)
        await assert_broken(other)
    finally:
        await other.close()
