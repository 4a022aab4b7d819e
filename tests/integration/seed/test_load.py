"""Demo clinics are imported from the shipped document, booked, encrypted, and made once."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from medforall.events.v1 import events_pb2
from psycopg import Connection

from booking_svc.directory.entities import Kind
from booking_svc.usecases.directory_recording import DirectoryRecorder
from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys, create_master_key_file, load_master_keys
from chassis.settings import EncryptionSettings
from ctl import demo
from ctl.failures import CtlError
from ctl.seed import diaries
from ctl.seed.directories import import_clinics
from ctl.seed.documents import TEMPLATE, DemoClinic, demo_clinic, read_template
from ctl.seed.facts import ClinicFacts
from ctl.seed.load import SeedOptions, seed_clinics
from ctl.seed.visits import PlannedVisit, make_visits
from ctl.seed.words import clinic_id
from ctl.transfer.checking import Source, check
from ctl.transfer.exporting import Exporter
from ctl.transfer.importing import bare
from ctl.transfer.meaning import Wanted
from ctl.transfer.reading import RawEntry
from ctl.transfer.sections import id_of
from ctl.transfer.sessions import clinic_session, new_id
from database.clinic_keys import KEYS_SQL, ClinicCiphers
from database.invariants import broken_invariants
from database.sealed_patient import open_patient
from scheduling.clock import EPOCH, minutes_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import MONDAY

KEYS = MasterKeys([MasterKey("test", b"k" * 32)])
OPTIONS = SeedOptions(clinics=2, days=7, first_day=MONDAY)
CLINIC = clinic_id(1)
_COUNTED = (
    "clinic",
    "resource",
    "service_rule",
    "patient",
    "appointment",
    "claim",
    "outbox_event",
    "audit_event",
)
_MULTIPLIED = {Kind.PROVIDER, Kind.SERVICE_RULE, Kind.WINDOW, Kind.PREFERENCE}
_CHANGED = {Kind.LOCATION: ("address", "timezone"), Kind.PROVIDER: ("name",)}


@pytest.fixture(scope="module")
def seeded(postgres_url: str) -> Iterator[MigratedDatabase]:
    """A database with the clinics of OPTIONS, for tests that change nothing."""
    with migrated_database(postgres_url) as made:
        seed_clinics(made.owner_url, KEYS, OPTIONS)
        yield made


def _counts(owner: Connection[Any]) -> dict[str, int]:
    """Rows of each table."""
    query = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in _COUNTED)
    return dict(owner.execute(query.encode()).fetchall())


def _clinics(*numbers: int) -> list[DemoClinic]:
    return [demo_clinic(read_template(), number, seed=1, first_day=OPTIONS.first_day) for number in numbers]


def test_seeding_twice_changes_nothing(database: MigratedDatabase) -> None:
    """The first run makes whole clinics that break no invariant; the second finds them, and adds only new ones."""
    seen: list[tuple[str, int, int]] = []
    report = seed_clinics(database.owner_url, KEYS, OPTIONS, progress=lambda *told: seen.append(told))
    assert (report.clinics_made, report.clinics_found) == (2, 0)
    assert seen == [(what, done, 2) for what in ("clinics", "diaries") for done in (0, 1, 2)]
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        assert not any(broken_invariants(owner).values())
        made = _counts(owner)
        assert made["appointment"] == report.visits
        again = seed_clinics(database.owner_url, KEYS, OPTIONS)
        assert (again.clinics_made, again.visits) == (0, 0)
        assert _counts(owner) == made
    more = seed_clinics(database.owner_url, KEYS, SeedOptions(clinics=3, days=7, first_day=OPTIONS.first_day))
    assert (more.clinics_made, more.clinics_found) == (1, 2)


async def _exported(owner_url: str, path: Path) -> dict[str, Wanted]:
    """What the clinic's export asks for."""
    file = io.StringIO()
    async with clinic_session(owner_url, CLINIC, KEYS) as session:
        exporter = Exporter(session, DirectoryRecorder(new_id, lambda: EPOCH))
        await exporter.write(file, with_patients=False, with_visits=False, progress=lambda _: None)
    path.write_text(file.getvalue())
    return _wanted(path)


def _wanted(path: Path) -> dict[str, Wanted]:
    plan = check(Source((path,)), CLINIC, {}, progress=lambda _: None)
    assert plan.faults == []
    return {wanted.id: wanted for wanted in plan.entries}


def _compared(wanted: Wanted) -> Any:
    """The record without what each clinic has of its own."""
    own = _CHANGED.get(wanted.section.kind, ())
    if "provider_ids" in wanted.record.get("rule_payload", {}):
        own = ("rule_payload",)
    return bare({name: value for name, value in wanted.record.items() if name not in own})


async def test_a_demo_clinic_is_the_example(database: MigratedDatabase, tmp_path: Path) -> None:
    """Its export has each entry of the example as it stands; all else is copies of providers and what is theirs."""
    await import_clinics(database.owner_url, KEYS, _clinics(1), progress=lambda _: None)
    exported = await _exported(database.owner_url, tmp_path / "out.yaml")
    example = _wanted(TEMPLATE)
    for entry_id, wanted in example.items():
        assert _compared(exported[entry_id]) == _compared(wanted)
    copies = [wanted for entry_id, wanted in exported.items() if entry_id not in example]
    assert {wanted.section.kind for wanted in copies} == _MULTIPLIED
    assert len(copies) + len(example) == len(exported)
    allowed = exported[id_of("ecg-by", CLINIC)].record["rule_payload"]["provider_ids"]
    assert allowed == [id_of("dr-okafor", CLINIC), id_of("dr-okafor-2", CLINIC)]


async def test_an_import_of_a_demo_clinic_is_audited_and_told(database: MigratedDatabase) -> None:
    """Every entry of the document, patients too, has an audit row by the seed and an event."""
    (clinic,) = _clinics(1)
    await import_clinics(database.owner_url, KEYS, [clinic], progress=lambda _: None)
    with psycopg.connect(database.owner_url) as owner:
        audited = owner.execute(
            "SELECT action, count(*) FROM audit_event WHERE actor = 'medforall seed' AND clinic_id = %s GROUP BY 1",
            (CLINIC,),
        ).fetchall()
        told = owner.execute("SELECT payload FROM outbox_event WHERE clinic_id = %s", (CLINIC,)).fetchall()
    assert sum(count for _, count in audited) == len(clinic.raws) == len(told)
    kinds = {events_pb2.Event.FromString(payload).directory.kind for (payload,) in told}
    assert {action for action, _ in audited} == {f"{kind}.create" for kind in kinds}


def test_events_carry_the_versions_of_the_resources(seeded: MigratedDatabase) -> None:
    """Each visit's event raises its resources by one, up to the versions that are stored."""
    with psycopg.connect(seeded.owner_url) as owner:
        payloads = owner.execute(
            "SELECT payload FROM outbox_event WHERE clinic_id = %s AND aggregate_type = 'appointment' ORDER BY id",
            (CLINIC,),
        ).fetchall()
        versions: dict[str, int] = dict(
            owner.execute(
                "SELECT id::text, calendar_version FROM resource WHERE clinic_id = %s", (CLINIC,)
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


def test_patients_are_stored_sealed(seeded: MigratedDatabase) -> None:
    """No family name is anywhere in the patients' rows, and the clinic's key opens them."""
    patients = [raw.tree for raw in _clinics(1)[0].raws if raw.section == "patients"]
    with psycopg.connect(seeded.owner_url) as owner:
        stored = owner.execute("SELECT patient::text FROM patient WHERE clinic_id = %s", (CLINIC,)).fetchall()
        text = "".join(row[0] for row in stored)
        names = {tree["name"].split()[-1] for tree in patients}
        assert len(stored) == len(patients)
        assert not any(name.encode().hex() in text or name in text for name in names)
        cipher = ClinicCiphers(KEYS).keep(CLINIC, owner.execute(KEYS_SQL, (CLINIC,)).fetchall())
        patient_id = id_of(patients[1]["id"], CLINIC)
        row = owner.execute(
            "SELECT name_encrypted, dob_encrypted, contact_encrypted, notes_encrypted FROM patient WHERE id = %s",
            (patient_id,),
        ).fetchone()
    assert row is not None
    opened = open_patient(
        cipher,
        patient_id,
        name_encrypted=row[0],
        dob_encrypted=row[1],
        contact_encrypted=row[2],
        notes_encrypted=row[3],
    )
    assert (opened.name, opened.dob, opened.phone) == (
        patients[1]["name"],
        patients[1]["dob"],
        patients[1]["contact"]["phone"],
    )


def test_what_a_failure_leaves_is_finished_by_the_next_run(
    database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diary that cannot be stored leaves none of itself and all before it; the same call again goes on there."""
    with monkeypatch.context() as patch:
        patch.setattr(diaries, "make_visits", _one_at_once)
        with pytest.raises(CtlError, match="SLOT_ALREADY_BOOKED"):
            seed_clinics(database.owner_url, KEYS, OPTIONS)
    booked = "SELECT DISTINCT clinic_id::text FROM appointment"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        assert owner.execute(booked).fetchall() == [(clinic_id(1),)]
        assert owner.execute("SELECT DISTINCT clinic_id::text FROM claim").fetchall() == [(clinic_id(1),)]
        report = seed_clinics(database.owner_url, KEYS, OPTIONS)
        assert (report.clinics_made, report.visits > 0) == (0, True)
        assert len(owner.execute(booked).fetchall()) == 2
        assert not any(broken_invariants(owner).values())


def test_what_is_past_is_history(database: MigratedDatabase) -> None:
    """Visits that are over by now are completed and claim nothing but today's quota; those to come are scheduled."""
    began = datetime.now(UTC)
    first_day = began.date() - timedelta(days=7)
    seed_clinics(database.owner_url, KEYS, SeedOptions(clinics=1, days=21, first_day=first_day))
    with psycopg.connect(database.owner_url) as owner:
        stored = owner.execute(
            "SELECT a.status, a.end_ts_utc < %(began)s - interval '1 hour', a.start_ts_utc > now(),"
            " EXISTS (SELECT FROM claim c LEFT JOIN resource r ON r.clinic_id = c.clinic_id AND r.id = c.resource_id"
            "  WHERE c.clinic_id = a.clinic_id AND c.appointment_id = a.id"
            "  AND (r.kind IS DISTINCT FROM 'quota' OR c.ends_at <= %(began)s))"
            " FROM appointment a",
            {"began": began},
        ).fetchall()
        assert not any(broken_invariants(owner).values())
    over = {(status, has_claims) for status, is_over, _, has_claims in stored if is_over}
    ahead = {(status, has_claims) for status, _, is_ahead, has_claims in stored if is_ahead}
    assert (over, ahead) == ({("completed", False)}, {("scheduled", True)})


def _never_closed(number: int) -> DemoClinic:
    """A demo clinic in which everybody works day and night, whatever the time is."""
    (clinic,) = _clinics(number)
    day_and_night = {"start": "2024-01-01T00:00", "end": "2024-01-02T00:00", "recurrence_rule": "FREQ=DAILY"}
    changes: dict[str, dict[str, Any]] = {
        "locations": {"hours": [{"weekday": day, "start": "00:00", "end": "24:00"} for day in "1234567"]},
        "windows": day_and_night,
    }
    raws = tuple(
        replace(raw, tree={**raw.tree, **changes.get(raw.section, {})})
        for raw in clinic.raws
        if raw.section != "closures" and (raw.section != "windows" or raw.tree["kind"] == "available")
    )
    return replace(clinic, raws=raws)


def test_a_visit_may_begin_between_making_and_judging(
    database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit that was to come when its diary was made up, and has begun when it is judged, is booked all the same."""
    asyncio.run(import_clinics(database.owner_url, KEYS, [_never_closed(1)], progress=lambda _: None))
    late = timedelta(minutes=20)
    begun_min = minutes_of(datetime.now(UTC) - late / 2)

    def one_between(clinic: ClinicFacts, **options: Any) -> Iterator[PlannedVisit]:
        planned = next(iter(make_visits(clinic, **options)))
        visit, length_min = planned.visit, planned.visit.end_min - planned.visit.start_min
        visit = replace(visit, start_min=begun_min, end_min=begun_min + length_min)
        yield replace(planned, visit=visit, is_on_notice=False)

    monkeypatch.setattr(diaries, "make_visits", one_between)
    options = SeedOptions(clinics=1, days=1, first_day=OPTIONS.first_day)
    report = seed_clinics(
        database.owner_url, KEYS, options, clock=lambda owner: diaries.database_clock(owner) - late
    )
    assert report.visits == 1
    with psycopg.connect(database.owner_url) as owner:
        assert owner.execute("SELECT status FROM appointment").fetchall() == [("scheduled",)]


def test_the_time_is_asked_for_each_diary(database: MigratedDatabase) -> None:
    """What is past is settled by the time at which a diary is made up, not at which the run began."""
    asked: list[datetime] = []

    def clock(owner: Connection[Any]) -> datetime:
        asked.append(diaries.database_clock(owner))
        return asked[-1]

    seed_clinics(database.owner_url, KEYS, OPTIONS, clock=clock)
    assert len(set(asked)) == OPTIONS.clinics


def test_a_diary_that_somebody_has_begun_meanwhile_is_left_alone(seeded: MigratedDatabase) -> None:
    """Whether a clinic has visits is looked at again once nobody can book in it: then it gets none beside them."""
    with psycopg.connect(seeded.owner_url, autocommit=True) as owner:
        made = _counts(owner)
        stretch = diaries.Stretch(OPTIONS.first_day + timedelta(days=7), 7)
        task = diaries.DiaryTask(seeded.owner_url, KEYS, OPTIONS.seed, stretch)
        assert asyncio.run(diaries.import_diaries(task, [CLINIC], progress=lambda _: None)) == 0
        assert _counts(owner) == made


def test_many_diaries_are_filled_by_several_processes(database: MigratedDatabase) -> None:
    """More clinics than are filled one after the other all get their visits, once."""
    options = SeedOptions(clinics=6, days=2, first_day=OPTIONS.first_day)
    seen: list[tuple[str, int, int]] = []
    report = seed_clinics(database.owner_url, KEYS, options, progress=lambda *told: seen.append(told))
    with psycopg.connect(database.owner_url) as owner:
        booked = owner.execute("SELECT clinic_id::text, count(*) FROM appointment GROUP BY 1").fetchall()
        assert not any(broken_invariants(owner).values())
    assert {clinic for clinic, _ in booked} == {clinic_id(number) for number in range(1, 7)}
    assert sum(count for _, count in booked) == report.visits
    assert seen[-7:] == [("diaries", done, 6) for done in range(7)]
    assert seed_clinics(database.owner_url, KEYS, options).visits == 0


def _one_at_once(clinic: ClinicFacts, **options: Any) -> Iterator[PlannedVisit]:
    """A diary, in which the second clinic's first visit comes once more, a minute later."""
    planned = list(make_visits(clinic, **options))
    yield from planned
    if clinic.id == clinic_id(2):
        first = planned[0].visit
        later = replace(first, start_min=first.start_min + 1, end_min=first.end_min + 1)
        yield replace(planned[0], visit=later, is_on_notice=True)


async def test_a_faulty_document_leaves_the_clinics_before_it(database: MigratedDatabase) -> None:
    """What the import refuses stops the run with file and line, and nothing of that clinic is there."""
    good, bad = _clinics(1, 2)
    room = next(raw for raw in bad.raws if raw.section == "rooms")
    doubled = RawEntry(room.file, room.section, room.line, {**room.tree, "id": "another"}, room.lines)
    bad = DemoClinic(bad.id, bad.number, (*bad.raws, doubled))
    with pytest.raises(CtlError, match=r"clinic.yaml:\d+: rooms: name is the name of another room"):
        await import_clinics(database.owner_url, KEYS, [good, bad], progress=lambda _: None)
    with psycopg.connect(database.owner_url) as owner:
        for table in ("location", "patient", "audit_event", "outbox_event"):
            query = f"SELECT DISTINCT clinic_id::text FROM {table}"
            assert owner.execute(query.encode()).fetchall() == [(good.id,)]


def test_a_start_that_was_interrupted_is_finished(database: MigratedDatabase, tmp_path: Path) -> None:
    """The demo is made on an empty database, finished where it has no diary yet, and left alone when it is whole."""
    key_file = tmp_path / "master.key"
    create_master_key_file(key_file)
    keys = load_master_keys(EncryptionSettings(master_key_file=key_file))
    asyncio.run(import_clinics(database.owner_url, keys, _clinics(1), progress=lambda _: None))
    said: list[str] = []
    assert demo.seed_if_empty(database.owner_url, key_file, say=said.append)
    assert not demo.seed_if_empty(database.owner_url, key_file, say=said.append)
    assert said[0] == "making the demo clinics"
    assert len(said) == 2
    facts = demo.facts(database.owner_url)
    assert facts is not None
    assert facts.clinic_id == CLINIC
    assert facts.service_id == id_of("check-up", CLINIC)
    assert facts.location_id == id_of("main", CLINIC)
