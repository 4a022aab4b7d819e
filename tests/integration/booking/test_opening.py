"""Connections are opened beside the calls that need them, at most so many, and nobody waits for a slow one in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from booking_svc.store.opening import OpenConnections
from booking_svc.store.pool import Pool
from booking_svc.store.turns import Turns
from ctl.ports import free_port
from database.pipeline import Connection
from database.settings import DatabaseSettings
from scheduling.errors import Unavailable
from tests.integration.booking.conftest import Suite
from tests.support.invariants import query
from tests.support.waiting import wait_until_async

SETTINGS = DatabaseSettings()


class Door:
    """Opens connections to the test's database while it stands open, and counts them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.asked = 0

    async def open_one(self) -> Connection:
        self.asked += 1
        await self.is_open.wait()
        return await Connection.open(self.url, SETTINGS, application_name="test")


@pytest.fixture
async def door(suite: Suite) -> Door:
    return Door(suite.database.app_url)


@pytest.fixture
async def connections(door: Door) -> AsyncIterator[OpenConnections]:
    made = OpenConnections(door.open_one, at_most=2)
    yield made
    await made.stop()


async def test_whatever_comes_first_is_taken(door: Door, connections: OpenConnections) -> None:
    """While an opening takes long, a connection that is given back goes to the caller who waits; the other is kept."""
    first = await connections.take()
    door.is_open.clear()
    waiting = asyncio.create_task(connections.take())
    await asyncio.sleep(0)
    await connections.give_back(first)
    assert await waiting is first
    door.is_open.set()
    second = await connections.take()
    assert second is not first
    assert door.asked == 2
    await connections.give_back(second)
    await connections.give_back(first)
    assert await connections.take() is first, "the one used last"
    await connections.give_back(first)


async def test_no_more_than_allowed_are_opened(door: Door, connections: OpenConnections) -> None:
    """Of five callers two open a connection, and all five have one in turn; one that breaks is replaced."""

    async def use(number: int) -> None:
        connection = await connections.take()
        if number == 0:
            await connection.close()
        await connections.give_back(connection)

    await asyncio.gather(*map(use, range(5)))
    assert door.asked <= 3


async def test_a_caller_who_gives_up_loses_no_connection(door: Door, connections: OpenConnections) -> None:
    """A wait that is cancelled leaves the connection that was opened for it to the next one."""
    door.is_open.clear()
    waiting = asyncio.create_task(connections.take())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    door.is_open.set()
    connection = await connections.take()
    assert door.asked <= 2
    await connections.give_back(connection)


async def test_what_is_in_use_at_the_end_is_closed_when_it_comes_back(connections: OpenConnections) -> None:
    """A connection that is given back after the stop is kept for nobody."""
    connection = await connections.take()
    await connections.stop()
    assert not connection.is_broken
    await connections.give_back(connection)
    assert connection.is_broken


OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"


async def test_a_pool_opens_its_first_connections_at_once(suite: Suite) -> None:
    """Started, it has `pool_min` connections before anybody asks."""
    before = query(suite.database.owner_url, OPEN, "booking_svc")[0][0]
    pool = Pool(suite.database.app_url, replace(SETTINGS, pool_min=3), Turns(4, patience_s=1))
    await pool.start()
    assert query(suite.database.owner_url, OPEN, "booking_svc") == [(before + 3,)]
    await pool.stop()

    async def closed() -> bool:
        return query(suite.database.owner_url, OPEN, "booking_svc") == [(before,)]

    await wait_until_async(closed, what="the connections to be closed")


async def test_nobody_waits_longer_for_an_opening_than_for_anything_else() -> None:
    """A database that takes the connection and says nothing: callers hear that it is away after the pool's wait."""

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung_up.wait()
        writer.close()

    hung_up = asyncio.Event()
    async with await asyncio.start_server(say_nothing, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://nobody@127.0.0.1:{port}/nothing"
        pool = Pool(url, replace(SETTINGS, pool_timeout_ms=50), Turns(4, patience_s=60))
        for _ in range(8):  # what was taken for a call that was refused is there for the next one
            with pytest.raises(Unavailable):
                async with pool.connection():
                    raise AssertionError("there is no database")
        await pool.stop()
        hung_up.set()


async def test_a_pool_starts_without_its_database() -> None:
    """Nobody listens: the start goes well, callers hear that the database is away, and none of them waits for ever."""
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    pool = Pool(url, SETTINGS, Turns(4, patience_s=1))
    await pool.start()

    async def use() -> None:
        async with pool.connection():
            raise AssertionError("there is no database")

    heard = await asyncio.gather(*(use() for _ in range(SETTINGS.pool_max + 4)), return_exceptions=True)
    assert {type(error) for error in heard} == {Unavailable}
    await pool.stop()
