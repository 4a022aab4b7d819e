"""Transactions name their tenant in the first round trip, retry what may be retried, and say what failed."""

# ruff: noqa: PT012 - the block of a transaction is what raises

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import errors

from database.settings import DatabaseSettings
from database.transaction import Database, Transaction
from scheduling.errors import Exhausted, Stale, Unavailable
from tests.support.clinic_rows import ClinicRows, insert_clinic
from tests.support.databases import MigratedDatabase


@pytest.fixture
def clinic(database: MigratedDatabase) -> ClinicRows:
    return insert_clinic(database.owner_url)


@pytest.fixture
async def app(database: MigratedDatabase) -> AsyncIterator[Database]:
    settings = DatabaseSettings(pool_min=1, pool_max=4, pool_timeout_ms=1_000)
    made = Database(database.app_url, settings, application_name="test")
    await made.open()
    yield made
    await made.close()


async def _room_name(app: Database, clinic: ClinicRows) -> str:
    async with app.tenant(clinic.clinic) as tx:
        row = await tx.row("SELECT name FROM room")
    assert row is not None
    return str(row[0])


async def test_a_tenant_transaction_commits(app: Database, clinic: ClinicRows) -> None:
    """What is queued and never asked about is committed, for this clinic alone."""
    async with app.tenant(clinic.clinic) as tx:
        await tx.send("UPDATE room SET name = %s", ("blue",))
        assert await tx.run("UPDATE service SET name = %s", ("Check",)) == 1
        assert await tx.rows("SELECT id FROM location") == [(clinic.location,)]
        assert await tx.rows("SELECT quantity FROM equipment") == [(2,)]
    assert await _room_name(app, clinic) == "blue"
    async with app.worker() as tx:
        assert await tx.rows("SELECT 1 FROM room") == []


async def test_an_exception_rolls_back(app: Database, clinic: ClinicRows) -> None:
    """Nothing of a block that raised is kept, and the connection goes on working."""
    with pytest.raises(LookupError):
        async with app.tenant(clinic.clinic) as tx:
            await tx.send("UPDATE room SET name = 'red'")
            raise LookupError
    assert await _room_name(app, clinic) == "1"


async def test_a_queued_failure_is_never_committed_over(app: Database, clinic: ClinicRows) -> None:
    """A statement that fails once queued raises at the block's end with its constraint's name."""
    with pytest.raises(errors.CheckViolation) as refused:
        async with app.tenant(clinic.clinic) as tx:
            await tx.send("UPDATE room SET name = 'red'")
            await tx.send("UPDATE room SET capacity = 0")
    assert refused.value.diag.constraint_name == "room_capacity_positive"
    assert await _room_name(app, clinic) == "1"


async def test_a_swallowed_failure_is_not_taken_for_a_commit(app: Database, clinic: ClinicRows) -> None:
    """COMMIT of a transaction that failed before is answered by ROLLBACK, and that raises."""
    with pytest.raises(errors.InFailedSqlTransaction):
        async with app.tenant(clinic.clinic) as tx:
            with pytest.raises(errors.CheckViolation):
                await tx.run("UPDATE room SET capacity = 0")


async def test_a_savepoint_undoes_its_block_only(app: Database, clinic: ClinicRows) -> None:
    """After a failure in a savepoint the transaction goes on, nested or not, and the rest is committed."""
    async with app.tenant(clinic.clinic) as tx:
        await tx.send("UPDATE room SET name = 'kept'")
        with pytest.raises(errors.CheckViolation):
            async with tx.savepoint():
                async with tx.savepoint():
                    await tx.send("UPDATE service SET name = 'lost'")
                await tx.send("UPDATE room SET capacity = 0")
        with pytest.raises(LookupError):
            async with tx.savepoint():
                await tx.send("UPDATE service SET name = 'lost'")
                raise LookupError
        async with tx.savepoint():
            await tx.send("UPDATE equipment SET name = 'kept'")
    async with app.tenant(clinic.clinic) as tx:
        names = await tx.row(
            "SELECT (SELECT name FROM room), (SELECT name FROM service), (SELECT name FROM equipment)"
        )
    assert names == ("kept", "Visit", "kept")


async def test_a_snapshot_reads_one_moment_and_writes_nothing(app: Database, clinic: ClinicRows) -> None:
    """What others commit meanwhile is not seen, and a write is refused."""
    async with app.snapshot(clinic.clinic) as snapshot:
        assert await snapshot.row("SELECT name FROM room") == ("1",)
        async with app.tenant(clinic.clinic) as tx:
            await tx.send("UPDATE room SET name = 'new'")
        assert await snapshot.row("SELECT name FROM room") == ("1",)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            async with snapshot.savepoint():
                await snapshot.run("UPDATE room SET name = 'x'")


async def test_a_deadlock_is_retried(app: Database, clinic: ClinicRows) -> None:
    """Two transactions that lock in opposite order both succeed, one of them at a second attempt."""
    both_hold = asyncio.Barrier(2)
    attempts = 0

    async def lock(first: str, second: str) -> None:
        met = False

        async def work(tx: Transaction) -> None:
            nonlocal attempts, met
            attempts += 1
            await tx.row("SELECT 1 FROM resource WHERE id = %s FOR UPDATE", (first,))
            if not met:
                met = True
                await both_hold.wait()
            await tx.row("SELECT 1 FROM resource WHERE id = %s FOR UPDATE", (second,))

        await app.in_tenant(clinic.clinic, work)

    await asyncio.gather(lock(clinic.room, clinic.provider), lock(clinic.provider, clinic.room))
    assert attempts == 3


async def test_retries_end(app: Database, clinic: ClinicRows) -> None:
    """A transaction that fails to serialize every time is tried four times, then refused as ABORTED."""
    attempts = 0

    async def work(_tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        raise errors.SerializationFailure

    with pytest.raises(Stale):
        await app.in_tenant(clinic.clinic, work)
    assert attempts == 4


async def test_a_lost_connection_is_survived(
    app: Database, clinic: ClinicRows, database: MigratedDatabase
) -> None:
    """When the server ends every session, the next call works on a new connection and says nothing of it."""
    await asyncio.gather(*(_room_name(app, clinic) for _ in range(4)))
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'medforall_app'"
        )

    async def work(tx: Transaction) -> object:
        return await tx.row("SELECT name FROM room")

    assert await app.in_tenant(clinic.clinic, work) == ("1",)


async def test_a_connection_lost_in_the_block_is_unavailable(
    app: Database, clinic: ClinicRows, database: MigratedDatabase
) -> None:
    """A plain transaction whose session is ended raises UNAVAILABLE, not a driver's error."""
    with pytest.raises(Unavailable):
        async with app.tenant(clinic.clinic) as tx:
            pid = await tx.row("SELECT pg_backend_pid()")
            with psycopg.connect(database.owner_url, autocommit=True) as owner:
                owner.execute("SELECT pg_terminate_backend(%s)", pid)
            await tx.row("SELECT 1")
    assert await _room_name(app, clinic) == "1"


async def test_a_database_that_is_away_is_unavailable_within_two_seconds() -> None:
    """Nobody listens: every caller is told so in time, many at once."""
    settings = DatabaseSettings(pool_min=1, pool_max=2)
    away = Database("postgresql://nobody@127.0.0.1:1/none", settings, application_name="test")
    await away.open()
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    results = await asyncio.gather(*(away.ping() for _ in range(20)), return_exceptions=True)
    assert loop.time() - started_at < 2.0
    assert all(isinstance(result, Unavailable) and result.retry_after_s for result in results)
    await away.close()


async def test_a_busy_pool_is_overload(app: Database, clinic: ClinicRows) -> None:
    """When all connections are in use for longer than a caller may wait, that is RESOURCE_EXHAUSTED."""
    release = asyncio.Event()
    holding = asyncio.Barrier(5)

    async def hold() -> None:
        async with app.tenant(clinic.clinic):
            await holding.wait()
            await release.wait()

    holders = [asyncio.create_task(hold()) for _ in range(4)]
    await holding.wait()
    with pytest.raises(Exhausted):
        await app.ping()
    release.set()
    await asyncio.gather(*holders)


async def test_a_cancelled_caller_gives_its_connection_back(app: Database, clinic: ClinicRows) -> None:
    """A call that is cancelled while the server works leaves no open transaction and no lost connection."""
    for _ in range(8):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), app.tenant(clinic.clinic) as tx:
                await tx.send("UPDATE room SET name = 'slow'")
                await tx.row("SELECT pg_sleep(5)")
    assert await _room_name(app, clinic) == "1"
