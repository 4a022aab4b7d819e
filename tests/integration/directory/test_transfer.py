"""Clinics as files: import, export and import again, faults with file and line, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from uuid import uuid4

import psycopg
import pytest

from chassis.master_keys import create_master_key_file
from ctl.transfer.sections import id_of
from tests.support.clinic_rows import insert
from tests.support.command import ROOT, medforall, medforall_here
from tests.support.databases import MigratedDatabase
from tests.support.invariants import query
from tests.support.practice import MONDAY

EXAMPLE = ROOT / "examples" / "clinic.yaml"
ENTRIES = 70
TENANT_TABLES = ("location", "closure", "provider", "room", "equipment", "service", "service_rule", "patient")

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def environment(database: MigratedDatabase, tmp_path: Path) -> dict[str, str]:
    """The command's environment: the test's database, a key, and a home of its own."""
    create_master_key_file(tmp_path / "master.key")
    return {
        "MEDFORALL_DATABASE_URL": database.owner_url,
        "MEDFORALL_MASTER_KEY_FILE": str(tmp_path / "master.key"),
        "MEDFORALL_HOME": str(tmp_path / "home"),
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """The command on the test's database."""
    return lambda *arguments: medforall_here(*map(str, arguments), environment=environment)


@pytest.fixture
def run_process(environment: dict[str, str]) -> Run:
    """The same as a process of its own."""
    return lambda *arguments: medforall(*map(str, arguments), environment=environment)


def imported(run: Run, *arguments: object) -> str:
    """What an import that went well printed."""
    done = run("import", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clinic_of(database: MigratedDatabase) -> str:
    return str(query(database.owner_url, "SELECT id::text FROM clinic")[0][0])


def counts(database: MigratedDatabase) -> dict[str, int]:
    """Rows of each table, events and audit rows included."""
    tables = (*TENANT_TABLES, "clinic", "resource", "outbox_event", "audit_event", "patient_name_token")
    with psycopg.connect(database.owner_url) as owner:
        return {
            table: (owner.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,))[0]
            for table in tables
        }


def test_import_export_import_changes_nothing(
    run_process: Run, database: MigratedDatabase, tmp_path: Path
) -> None:
    """The example goes in with events and audit; its export, and the example again, find nothing to change."""
    said = imported(run_process, EXAMPLE)
    assert f"{ENTRIES} created, 0 changed, 0 unchanged" in said
    made = counts(database)
    assert made["outbox_event"] == made["audit_event"] == ENTRIES
    exported = tmp_path / "out.yaml"
    clinic = clinic_of(database)
    done = run_process("export", "--clinic", clinic, "-o", exported)
    assert done.returncode == 0, done.stderr
    assert exported.stat().st_mode & 0o777 == 0o600
    assert f"0 created, 0 changed, {ENTRIES} unchanged" in imported(run_process, exported)
    assert f"0 created, 0 changed, {ENTRIES} unchanged" in imported(run_process, EXAMPLE)
    assert counts(database) == made | {"audit_event": made["audit_event"] + 1}  # the export's own
    again = tmp_path / "again.yaml"
    run_process("export", "--clinic", clinic, "-o", again)
    assert again.read_text() == exported.read_text()


def test_an_export_sets_up_the_same_clinic_elsewhere(
    run: Run, database: MigratedDatabase, tmp_path: Path
) -> None:
    """A clinic that was exported and is gone comes back the same, patients readable, inactive ones inactive."""
    imported(run, EXAMPLE)
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("UPDATE service_rule SET priority = 0")
        owner.execute("UPDATE room SET active = false WHERE name = 'Exam 2'")
        owner.execute("UPDATE patient SET active = false WHERE NOT placeholder")
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    clinic = clinic_of(database)
    assert run("export", "--clinic", clinic, "-o", first).returncode == 0
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("SET session_replication_role = replica")
        for table in query(
            database.owner_url,
            "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " WHERE a.attname = 'clinic_id' AND c.relkind = 'r' AND NOT c.relispartition",
        ):
            owner.execute(f"DELETE FROM {table[0]}".encode())
        owner.execute("DELETE FROM clinic")
    imported(run, first)
    assert run("export", "--clinic", clinic, "-o", second).returncode == 0
    assert second.read_text() == first.read_text()


def test_a_change_of_the_file_changes_that_entry_alone(
    run: Run, database: MigratedDatabase, tmp_path: Path
) -> None:
    """What the file says differently is updated with event and audit; a patient's too."""
    imported(run, EXAMPLE)
    file = tmp_path / "clinic.yaml"
    text = EXAMPLE.read_text().replace("name: Exam 1,", "name: Exam One,").replace("1961-07-25", "1961-07-26")
    file.write_text(text)
    dry = imported(run, file, "--dry-run")
    assert f"0 created, 2 changed, {ENTRIES - 2} unchanged" in dry
    assert "nothing was changed" in dry
    assert query(database.owner_url, "SELECT count(*) FROM room WHERE name = 'Exam One'") == [(0,)]
    assert f"0 created, 2 changed, {ENTRIES - 2} unchanged" in imported(run, file)
    assert query(database.owner_url, "SELECT count(*) FROM room WHERE name = 'Exam One'") == [(1,)]
    actions = query(
        database.owner_url, "SELECT action FROM audit_event WHERE action LIKE '%%.update' ORDER BY 1"
    )
    assert actions == [("patient.update",), ("room.update",)]


def test_every_fault_is_told_with_file_and_line(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """All faults come at once, each with its place and no patient's data, and nothing is written."""
    file = tmp_path / "bad.yaml"
    file.write_text(
        "clinic:\n"
        "  id: bad\n"
        "  name: Bad\n"
        "  default_timezone: Mars/Olympus\n"
        "rooms:\n"
        "  - id: r1\n"
        "    location_id: nowhere\n"
        "    name: R1\n"
        "    capacity: many\n"
        "  - id: r2\n"
        "    location_id: nowhere\n"
        "    name: R2\n"
        "    colour: red\n"
        "windows:\n"
        "  - id: w\n"
        "    resource_id: r2\n"
        "    start: 2026-01-05T09:00\n"
        "    end: 2026-01-05T08:00\n"
        "    kind: open\n"
        "services:\n"
        "  - id: s\n"
        "    name: S\n"
        "    default_duration_min: 0\n"
        "patients:\n"
        "  - id: p\n"
        "    name: Canary Person\n"
        "    dob: 1999-02-31\n"
        "  - name: Nobody\n"
        "doctors:\n"
        "  - id: d\n"
    )
    done = run("import", file)
    assert done.returncode == 1
    told = [line.partition("bad.yaml:")[2] for line in done.stdout.splitlines() if "bad.yaml:" in line]
    assert [line.partition(":")[0] for line in told] == ["4", "9", "13", "19", "23", "27", "28", "30"]
    assert told[0] == "4: clinic: default_timezone must be an IANA time zone such as Europe/Berlin"
    assert told[1] == "9: rooms: capacity must be a whole number"
    assert "must be one of: available, unavailable, override" in told[3]
    assert "Canary" not in done.stdout + done.stderr
    assert "8 faults; nothing was changed." in done.stderr
    assert sum(counts(database).values()) == 0


def test_a_reference_to_nothing_is_a_fault(run: Run, tmp_path: Path) -> None:
    """Names must lead to entries of the files or of the clinic, of the right kind."""
    file = tmp_path / "clinic.yaml"
    file.write_text(EXAMPLE.read_text().replace("provider_ids: [dr-okafor]", "provider_ids: [exam-1]"))
    done = run("import", file)
    assert "service_rules: rule_payload names no provider" in done.stdout
    assert done.returncode == 1


def test_what_the_database_refuses_undoes_everything(
    run: Run, database: MigratedDatabase, tmp_path: Path
) -> None:
    """Rooms that change names cannot do it one by one: told while writing, with the line, and no row is changed."""
    imported(run, EXAMPLE)
    before = counts(database)
    file = tmp_path / "clinic.yaml"
    text = (
        EXAMPLE.read_text()
        .replace("name: Exam 2,", "name: Exam X,")
        .replace("name: Exam 1,", "name: Exam 2,")
    )
    text = text.replace("name: Exam X,", "name: Exam 1,").replace("id: rosalind-meyer", "id: somebody-else")
    file.write_text(text)
    done = run("import", file)
    assert done.returncode == 1
    line = 1 + next(at for at, text in enumerate(file.read_text().splitlines()) if "id: exam-1" in text)
    assert f"clinic.yaml:{line}: rooms refused: A room of this name exists at this location." in done.stderr
    assert counts(database) == before


def test_a_dry_run_tells_every_fault_of_names_and_texts(run: Run, tmp_path: Path) -> None:
    """Names given twice, in the files or the clinic, blank names, zones that are none and U+0000 come all at once."""
    imported(run, EXAMPLE)
    file = tmp_path / "more.yaml"
    file.write_text(
        "clinic: {id: harbour-clinic, default_timezone: Factory, name: Harbour}\n"
        "locations:\n"
        "  - {id: l1, name: North}\n"
        "  - {id: l2, name: North}\n"
        "rooms:\n"
        "  - {id: r1, location_id: main, name: Exam 1}\n"
        "  - {id: r2, location_id: main, name: ' '}\n"
        "providers:\n"
        '  - {id: d1, name: "a\\0b"}\n'
        "  - {id: d2, name: Doc, credentials: {license: 1e+300}}\n"
        "windows:\n"
        "  - id: w1\n"
        "    resource_id: dr-okafor\n"
        "    start: 2026-01-05T09:00\n"
        "    end: 2026-01-05T10:00\n"
        "    kind: available\n"
        "    recurrence_rule: FREQ=DAILY;UNTIL=99991231\n"
    )
    done = run("import", file, "--dry-run")
    told = [line.partition("more.yaml:")[2] for line in done.stdout.splitlines() if "more.yaml:" in line]
    assert [line.partition(":")[0] for line in told] == ["1", "4", "6", "7", "9", "17"], done.stdout
    assert "6 faults" in done.stderr


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "id,name,dob,contact,contact.phone",
            "patients.csv:1: has several columns for contact and contact.phone",
        ),
        ("id,name,dob,name,notes", "patients.csv:1: has several columns for name"),
        ("id,name,dob,,notes", "patients.csv:1: column 4 names no field"),
    ],
)
def test_columns_that_say_the_same_are_a_fault(run: Run, tmp_path: Path, header: str, told: str) -> None:
    """A table whose header names a field twice, or none, is refused with its line."""
    imported(run, EXAMPLE)
    table = tmp_path / "patients.csv"
    table.write_text(f"{header}\np1,Ann,1970-01-02,a,b\n")
    done = run("import", table, "--clinic", id_of("harbour-clinic", "clinic"))
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_changes_what_its_columns_name(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """A column that is not there leaves its field as it is, an empty cell clears it, and words stay words."""
    imported(run, EXAMPLE)
    clinic = clinic_of(database)
    patients, providers = tmp_path / "patients.csv", tmp_path / "providers.csv"
    patients.write_text(
        "id,name,dob,contact.phone,contact.email\np1,Ann Lee,1970-01-02,030 1,ann@example.org\n"
    )
    providers.write_text(
        "id,name,credentials.license,credentials.chamber\nd9,Dr. Nine,00123,12345678901234567890\n"
    )
    imported(run, patients, providers, "--clinic", clinic)
    patients.write_text("id,name,dob,contact.phone\np1,Ann Lee,1970-01-02,\n")
    assert "0 created, 1 changed" in imported(run, patients, "--clinic", clinic)
    exported = tmp_path / "out.yaml"
    assert run("export", "--clinic", clinic, "-o", exported).returncode == 0
    text = exported.read_text()
    assert "ann@example.org" in text
    assert "030 1" not in text
    assert "license: '00123'" in text
    assert "chamber: '12345678901234567890'" in text
    unchanged = imported(run, exported)
    assert "0 created, 0 changed" in unchanged
    missing = run("export", "--clinic", clinic, "-o", tmp_path / "nowhere" / "x.yaml")
    assert missing.returncode == 1
    assert "There is no directory" in missing.stderr


def test_new_entries_tell_whom_they_displace(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """Where visits are booked ahead, a new closure in a file lists those that it pushes outside."""
    imported(run, EXAMPLE)
    clinic = clinic_of(database)
    with psycopg.connect(database.owner_url) as owner:
        start = datetime.combine(MONDAY, time(15), UTC)
        insert(owner, "appointment_ref", clinic_id=clinic, id=(visit := str(uuid4())), start_ts_utc=start)
        insert(
            owner,
            "appointment",
            clinic_id=clinic,
            id=visit,
            location_id=id_of("main", clinic),
            provider_id=id_of("dr-okafor", clinic),
            patient_id=id_of("rosalind-meyer", clinic),
            service_id=id_of("check-up", clinic),
            room_id=id_of("exam-1", clinic),
            start_ts_utc=start,
            end_ts_utc=start + timedelta(minutes=15),
            status="scheduled",
            room_selection_mode="auto",
            created_by="a test",
        )
    file, tuesday = tmp_path / "closed.yaml", MONDAY + timedelta(days=1)
    file.write_text(
        f"closures:\n  - {{id: a, start: {MONDAY}T00:00, end: {MONDAY}T23:00}}\n"
        f"  - {{id: b, start: {tuesday}T00:00, end: {tuesday}T23:00}}\n"
    )
    said = imported(run, file, "--clinic", clinic)
    assert "2 created" in said
    assert f"appointment {visit} no longer fits: OUTSIDE_HOURS" in said


def test_tables_of_patients_providers_and_rooms(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """CSV files add to a clinic; faults name their lines; a second import changes nothing."""
    imported(run, EXAMPLE)
    clinic = clinic_of(database)
    patients, rooms = tmp_path / "patients.csv", tmp_path / "more-rooms.csv"
    patients.write_text(
        "id,name,dob,contact.phone,notes\n"
        'p1,"Óscar, Ruiz",1970-01-02,+34 600 000,"two\nlines"\n'
        "p2,Ann Lee,1980-13-01,,\n"
    )
    done = run("import", patients, "--clinic", clinic)
    assert "patients.csv:4: patients: dob must be a date of the calendar" in done.stdout
    patients.write_text(patients.read_text().replace("-13-", "-12-"))
    said = imported(run, patients, "--clinic", clinic)
    assert "2 created, 0 changed, 0 unchanged" in said
    assert "0 created, 0 changed, 2 unchanged" in imported(run, patients, "--clinic", clinic)
    rooms.write_text("id,location_id,name,capacity\nr9,main,Nine,3\n")
    assert "1 created" in imported(run, rooms, "--clinic", clinic, "--as", "rooms")
    assert query(database.owner_url, "SELECT capacity FROM room WHERE name = 'Nine'") == [(3,)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("- a\n", ":1: must be a mapping of sections"),
        ("clinic: &a {id: x}\n", ":1: must not have anchors"),
        ("clinic:\n  id: x\n  id: y\n", ":3: id is given twice"),
        ("clinic:\n  id: [\n", "nothing was changed"),
        ("rooms: []\n", "do not say which clinic"),
        ("\x00", "nothing was changed"),
        ("clinic: {id: x}\n---\nrooms: []\n", ":2: is a second document"),
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(
    run: Run, tmp_path: Path, content: str, told: str
) -> None:
    """Broken YAML, anchors, doubled keys and files without a clinic end in one sentence."""
    file = tmp_path / "file.yaml"
    file.write_text(content)
    done = run("import", file)
    assert done.returncode == 1
    assert told in done.stderr.replace("Nothing", "nothing")
    assert "Traceback" not in done.stderr
