"""A PostgreSQL that is killed and comes back: callers hear UNAVAILABLE in time, and the pool heals by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.embedded import EmbeddedPostgres, start_server
from ctl.ports import free_port
from ctl.processes import ManagedProcess
from database.settings import DatabaseSettings
from database.transaction import Database
from scheduling.errors import Unavailable
from tests.support.servers import postgres_installation


class OwnServer:
    """A PostgreSQL of this test alone, which may be killed."""

    def __init__(self, directory: Path) -> None:
        self._postgres = EmbeddedPostgres(
            directory / "data",
            port=free_port(),
            password="own",
            log_path=directory / "log",
            installation=postgres_installation(),
        )
        self._process: ManagedProcess | None = None
        self.url = self._postgres.url

    def start(self) -> None:
        self._process = start_server(self._postgres)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    made = OwnServer(tmp_path_factory.mktemp("own-postgres"))
    made.start()
    yield made
    made.stop()


@pytest.mark.slow
async def test_the_pool_heals_after_a_crash(server: OwnServer) -> None:
    """While the server is dead every call fails in under two seconds; within five of its return calls succeed."""
    database = Database(server.url, DatabaseSettings(pool_min=2, pool_max=4), application_name="test")
    await database.open()
    await asyncio.gather(*(database.ping() for _ in range(8)))
    loop = asyncio.get_running_loop()

    server.kill()
    for _ in range(3):
        started_at = loop.time()
        results = await asyncio.gather(*(database.ping() for _ in range(4)), return_exceptions=True)
        assert all(isinstance(result, Unavailable) for result in results), results
        assert loop.time() - started_at < 2.0

    await asyncio.to_thread(server.start)
    back_at = loop.time()
    while True:
        try:
            await database.ping()
        except Unavailable:
            assert loop.time() - back_at < 5.0
            continue
        break
    assert loop.time() - back_at < 5.0
    await database.close()
