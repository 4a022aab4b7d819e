"""Leases, retention, clinic keys and the doctor's invariants, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from chassis.encryption import DecryptionError, MasterKey
from chassis.leases import Lease
from chassis.master_keys import MasterKeys
from database.clinic_keys import ClinicCiphers, rewrap_keys
from database.invariants import INVARIANTS, broken_invariants
from database.leases import PostgresLeases
from database.retention import maintain
from database.sealed_patient import (
    PatientDetails,
    name_search_tokens,
    open_patient,
    phone_hash,
    seal_patient,
)
from database.settings import DatabaseSettings
from database.transaction import Database
from tests.support.clinic_rows import AUDIT_PARTITION, START, VISIT_PARTITION, insert_clinic
from tests.support.databases import MigratedDatabase

OLD, NEW = MasterKey("old", b"o" * 32), MasterKey("new", b"n" * 32)


@pytest.fixture
async def worker(database: MigratedDatabase) -> AsyncIterator[Database]:
    made = Database(database.worker_url, DatabaseSettings(pool_min=1, pool_max=2), application_name="test")
    await made.open()
    yield made
    await made.close()


async def _expire(worker: Database) -> None:
    async with worker.worker() as tx:
        await tx.send("UPDATE lease SET expires_at = clock_timestamp() - interval '1 second'")


async def test_a_lease_has_one_holder_and_fences_the_former(worker: Database) -> None:
    """Only an expired or released lease changes hands, with a larger token; its former holder is fenced."""
    leases = PostgresLeases(worker)
    first = await leases.acquire("relay", "a", 60_000)
    assert first == Lease(name="relay", holder="a", token=1)
    assert await leases.acquire("relay", "b", 60_000) is None
    assert await leases.acquire("relay", "a", 60_000) == first
    assert await leases.renew(first, 60_000)
    await _expire(worker)
    second = await leases.acquire("relay", "b", 60_000)
    assert second == Lease(name="relay", holder="b", token=2)
    assert not await leases.renew(first, 60_000)
    await leases.release(first)
    assert await leases.acquire("relay", "a", 60_000) is None
    await leases.release(second)
    third = await leases.acquire("relay", "b", 60_000)
    assert third == Lease(name="relay", holder="b", token=3)


def test_maintenance_deletes_what_was_kept_long_enough(database: MigratedDatabase) -> None:
    """Old claims, keys, published events and quotas go; what is young, unpublished or audited stays."""
    ids = insert_clinic(database.owner_url)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute(
            "INSERT INTO resource (clinic_id, id, kind, quota_day)"
            " VALUES (%s, gen_random_uuid(), 'quota', '2026-01-01')",
            (ids.clinic,),
        )
        owner.commit()
        early = maintain(owner, today=START.date() + timedelta(days=7))
        assert early.deleted == {"claim": 0, "idempotency_key": 1, "outbox_event": 0, "resource": 1}
        owner.execute("UPDATE outbox_event SET published_at = %s", (START,))
        owner.commit()
        late = maintain(owner, today=START.date() + timedelta(days=20))
        assert late.deleted == {"claim": 2, "idempotency_key": 0, "outbox_event": 1, "resource": 0}
        much_later = maintain(
            owner, today=START.date().replace(year=START.year + 10, day=28) + timedelta(days=7)
        )
        assert AUDIT_PARTITION in much_later.partitions.detached
        assert VISIT_PARTITION in much_later.partitions.detached
        assert owner.execute(f"SELECT count(*) FROM {AUDIT_PARTITION}".encode()).fetchone() == (1,)


def test_invariants_hold_and_their_breach_is_counted(database: MigratedDatabase) -> None:
    """A sound clinic breaks none; a claim, an id and a visit without counterpart are found."""
    ids = insert_clinic(database.owner_url)
    with psycopg.connect(database.owner_url) as owner:
        assert broken_invariants(owner) == dict.fromkeys(INVARIANTS, 0)
        owner.execute("DELETE FROM claim WHERE resource_id = %s", (ids.provider,))
        assert broken_invariants(owner)["every live visit claims its provider, buffers included"] == 1
        owner.execute("DELETE FROM appointment")
        broken = broken_invariants(owner)
        assert broken["every id leads to a visit"] == 1
        assert broken["every claim belongs to a visit that may hold it"] == 1


async def test_a_clinics_key_is_made_once_and_opens_for_this_clinic_only(
    database: MigratedDatabase, worker: Database
) -> None:
    """Two processes agree on the key; a patient sealed by one opens in the other, and nowhere else."""
    clinic = insert_clinic(database.owner_url)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("DELETE FROM clinic_key")
    details = PatientDetails(name="Åsa Lind", dob="1980-02-29", phone="+49 30 123", notes="tall")
    one, other = ClinicCiphers(MasterKeys([OLD])), ClinicCiphers(MasterKeys([OLD]))
    async with worker.worker() as tx:
        cipher = await one.cipher(tx.connection, clinic.clinic)
    async with worker.worker() as tx:
        same = await other.cipher(tx.connection, clinic.clinic)
    sealed = seal_patient(cipher, clinic.patient, details)
    columns = {
        "name_encrypted": sealed.name_encrypted,
        "dob_encrypted": sealed.dob_encrypted,
        "contact_encrypted": sealed.contact_encrypted,
        "notes_encrypted": sealed.notes_encrypted,
    }
    assert open_patient(same, clinic.patient, **columns) == details  # type: ignore[arg-type]
    assert sealed.phone_hash == phone_hash(same, "0049 30-123")
    assert set(name_search_tokens(same, "asa li")) <= set(sealed.name_tokens)
    with pytest.raises(DecryptionError):
        open_patient(same, clinic.room, **columns)  # type: ignore[arg-type]


async def test_rewrapping_retires_the_old_master_key(database: MigratedDatabase, worker: Database) -> None:
    """After a rotation the new master key alone opens the clinic's values, which were not touched."""
    clinic = insert_clinic(database.owner_url)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("DELETE FROM clinic_key")
    async with worker.worker() as tx:
        cipher = await ClinicCiphers(MasterKeys([OLD])).cipher(tx.connection, clinic.clinic)
    sealed = cipher.seal_text("secret", table="t", column="c", row_id="1")
    with psycopg.connect(database.owner_url) as owner:
        assert rewrap_keys(owner, MasterKeys([NEW, OLD])) == 1
        assert rewrap_keys(owner, MasterKeys([NEW, OLD])) == 0
    async with worker.worker() as tx:
        reopened = await ClinicCiphers(MasterKeys([NEW])).cipher(tx.connection, clinic.clinic)
    assert reopened.open_text(sealed, table="t", column="c", row_id="1") == "secret"
