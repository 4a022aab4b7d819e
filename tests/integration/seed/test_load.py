"""Demo clinics go into a real database whole, once, encrypted, and as the engine will read them back."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest
from medforall.events.v1 import events_pb2
from psycopg import errors

from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys
from ctl.seed import load, staging
from ctl.seed.clinics import make_clinic
from ctl.seed.load import SeedOptions, seed_clinics
from ctl.seed.words import clinic_id
from database.clinic_keys import KEYS_SQL, ClinicCiphers
from database.facts import read_location_document
from database.invariants import broken_invariants
from database.location_facts import build_location
from database.sealed_patient import open_patient
from tests.support.databases import MigratedDatabase

KEYS = MasterKeys([MasterKey("test", b"k" * 32)])
OPTIONS = SeedOptions(clinics=2, days=7, first_day=date(2027, 3, 8))


def test_seeding_twice_changes_nothing(database: MigratedDatabase) -> None:
    """The first run makes whole clinics that break no invariant; the second finds them, and adds only new ones."""
    seen: list[tuple[int, int]] = []
    report = seed_clinics(
        database.owner_url, KEYS, OPTIONS, progress=lambda done, total: seen.append((done, total))
    )
    assert (report.clinics_made, report.clinics_found, seen[-1]) == (2, 0, (2, 2))
    with psycopg.connect(database.owner_url) as owner:
        assert not any(broken_invariants(owner).values())
        assert owner.execute("SELECT count(*) FROM appointment").fetchone() == (report.visits,)
    again = seed_clinics(database.owner_url, KEYS, OPTIONS)
    assert (again.clinics_made, again.rows, again.visits) == (0, 0, 0)
    more = seed_clinics(database.owner_url, KEYS, SeedOptions(clinics=3, days=7, first_day=OPTIONS.first_day))
    assert (more.clinics_made, more.clinics_found) == (1, 2)


def test_what_is_loaded_is_what_was_planned(database: MigratedDatabase) -> None:
    """The engine's facts read back from SQL equal the plan's, and events carry the versions of the resources."""
    seed_clinics(database.owner_url, KEYS, OPTIONS)
    plan = make_clinic(1, seed=1, first_day=OPTIONS.first_day)
    with psycopg.connect(database.owner_url) as owner:
        for location in plan.locations:
            document = read_location_document(owner, plan.id, location.facts.id)
            assert document is not None
            read, planned = build_location(document).static, plan.static_facts(location)
            assert {found.id for found in read.providers} >= {found.id for found in planned.providers}
            assert set(read.rooms) == set(planned.rooms)
            assert set(read.services) == set(planned.services)
            assert {rule.id: rule for rule in read.rules} == {rule.id: rule for rule in planned.rules}
        payloads = owner.execute(
            "SELECT payload FROM outbox_event WHERE clinic_id = %s AND aggregate_type = 'appointment' ORDER BY id",
            (plan.id,),
        ).fetchall()
        versions: dict[str, int] = dict(
            owner.execute(
                "SELECT id::text, calendar_version FROM resource WHERE clinic_id = %s", (plan.id,)
            ).fetchall()
        )
    told: dict[str, int] = {}
    for (payload,) in payloads:
        event = events_pb2.Event.FromString(payload)
        for change in event.resources:
            if change.resource_id in versions:
                assert change.calendar_version == told.get(change.resource_id, 0) + 1
                told[change.resource_id] = change.calendar_version
    assert told == {resource: version for resource, version in versions.items() if version}


def test_patients_are_stored_sealed(database: MigratedDatabase) -> None:
    """No family name is anywhere in the patients' rows, and the clinic's key opens them."""
    seed_clinics(database.owner_url, KEYS, OPTIONS)
    plan = make_clinic(1, seed=1, first_day=OPTIONS.first_day)
    patient = plan.patients[1]
    with psycopg.connect(database.owner_url) as owner:
        stored = owner.execute(
            "SELECT patient::text FROM patient WHERE clinic_id = %s", (plan.id,)
        ).fetchall()
        text = "".join(row[0] for row in stored)
        names = {found.details.name.split()[-1] for found in plan.patients}
        assert not any(name.encode().hex() in text or name in text for name in names)
        cipher = ClinicCiphers(KEYS).keep(plan.id, owner.execute(KEYS_SQL, (plan.id,)).fetchall())
        row = owner.execute(
            "SELECT name_encrypted, dob_encrypted, contact_encrypted, notes_encrypted FROM patient WHERE id = %s",
            (patient.id,),
        ).fetchone()
    assert row is not None
    opened = open_patient(
        cipher,
        patient.id,
        name_encrypted=row[0],
        dob_encrypted=row[1],
        contact_encrypted=row[2],
        notes_encrypted=row[3],
    )
    assert opened == patient.details


def test_a_failure_leaves_no_half_clinic(database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a later clinic cannot be stored, those of finished transactions are whole and the rest is absent."""
    original = staging.load
    monkeypatch.setattr(load, "_BATCH_CLINICS", 1)

    def broken_load(owner: psycopg.Connection[object], rows: object) -> int:
        by_table = rows.by_table  # type: ignore[attr-defined]
        if by_table["clinic"][0][0] == clinic_id(2):
            by_table["claim"].append((*by_table["claim"][0][:-1], clinic_id(9)))
        return original(owner, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(staging, "load", broken_load)
    with pytest.raises(errors.ExclusionViolation) as refused:
        seed_clinics(database.owner_url, KEYS, OPTIONS)
    assert refused.value.diag.constraint_name == "claim_no_overlap"
    with psycopg.connect(database.owner_url) as owner:
        assert owner.execute("SELECT id::text FROM clinic").fetchall() == [(clinic_id(1),)]
        assert owner.execute("SELECT DISTINCT clinic_id::text FROM claim").fetchall() == [(clinic_id(1),)]
