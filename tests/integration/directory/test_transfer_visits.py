"""Visits in a clinic's files: read with file and line, booked or refused as a whole, written out and read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ctl.transfer.sections import id_of
from tests.integration.directory.test_transfer import (
    ENTRIES,
    EXAMPLE,
    Run,
    clinic_of,
    environment,
    imported,
    run,
)
from tests.support.databases import MigratedDatabase
from tests.support.invariants import query
from tests.support.practice import MONDAY

__all__ = ["environment", "run"]

COUNTED = "SELECT count(*) FROM appointment WHERE clinic_id = %s"


def tuesday(hour: int, minute: int = 0, *, weeks: int = 1) -> str:
    """A local time of a Tuesday to come, on which Dr. Kaya of the example always works until half past three."""
    day = MONDAY + timedelta(days=1 + 7 * weeks)
    return f"{day}T{hour:02}:{minute:02}"


def visits_file(folder: Path, *, notes: str = "Canary") -> Path:
    """The example's clinic with visits, one of them long ago."""
    long_ago = datetime.now(UTC).date() - timedelta(days=300)
    file = folder / "visits.yaml"
    file.write_text(
        "clinic: {id: harbour-clinic, name: Harbour Clinic, default_timezone: America/New_York}\n"
        "appointments:\n"
        "  - id: first\n"
        "    location_id: main\n"
        "    provider_id: dr-kaya\n"
        "    service_id: check-up\n"
        "    patient_id: rosalind-meyer\n"
        f"    start: {tuesday(9)}\n"
        f"    notes: {notes}\n"
        "  - {id: second, location_id: main, provider_id: dr-kaya, service_id: check-up,\n"
        f"     patient_id: tomas-novak, room_id: exam-3, status: confirmed, start: {tuesday(10)}}}\n"
        "  - {id: third, location_id: main, provider_id: dr-kaya, service_id: check-up,\n"
        f"     patient_id: rosalind-meyer, status: completed, start: {long_ago}T09:07, end: {long_ago}T09:30}}\n"
        "  - {id: fourth, location_id: main, provider_id: dr-kaya, service_id: check-up, patient_id: walk-in,\n"
        f"     override_reason: fits nowhere else, start: {tuesday(11, 1)}}}\n"
    )
    return file


def test_visits_go_in_and_out_and_in_again(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """Visits of a file are booked once; the export has them, and neither it nor the file again changes anything."""
    imported(run, EXAMPLE)
    clinic, file = clinic_of(database), visits_file(tmp_path)
    dry = imported(run, file, "--dry-run", "--clinic", clinic)
    assert "4 created, 0 changed, 1 unchanged" in dry
    assert query(database.owner_url, COUNTED, clinic) == [(0,)]
    assert "4 created" in imported(run, file)
    assert "0 created, 0 changed, 5 unchanged" in imported(run, file)
    stored = query(
        database.owner_url,
        "SELECT status, overridden_rules, notes_encrypted IS NULL FROM appointment ORDER BY start_ts_utc, id",
    )
    assert sorted(row[0] for row in stored) == ["completed", "confirmed", "scheduled", "scheduled"]
    assert [row[1] for row in stored if row[1]] == [["OFF_GRID"]]
    exported, again = tmp_path / "out.yaml", tmp_path / "again.yaml"
    assert run("export", "--clinic", clinic, "-o", exported).returncode == 0
    assert "notes: Canary" in exported.read_text()
    assert exported.read_text().count("override_reason: fits nowhere else") == 1
    assert f"0 created, 0 changed, {ENTRIES + 4} unchanged" in imported(run, exported)
    assert run("export", "--clinic", clinic, "-o", again).returncode == 0
    assert again.read_text() == exported.read_text()


def test_a_new_clinic_comes_with_its_visits(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """One file sets up a clinic and books its visits, wherever in it they stand."""
    visits = visits_file(tmp_path).read_text().partition("\n")[2]
    file = tmp_path / "clinic.yaml"
    clinic, _, rest = EXAMPLE.read_text().partition("locations:")
    file.write_text(f"{clinic}{visits}locations:{rest}")
    assert f"{ENTRIES + 4} created" in imported(run, file, "--dry-run")
    assert f"{ENTRIES + 4} created" in imported(run, file)
    assert query(database.owner_url, COUNTED, clinic_of(database)) == [(4,)]


def test_a_visit_may_have_the_id_of_a_patient(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """Tables that number their rows each from the same number go in together, exported and again too."""
    imported(run, EXAMPLE)
    clinic, patients, visits = clinic_of(database), tmp_path / "patients.csv", tmp_path / "appointments.csv"
    patients.write_text("id,name,dob\n1001,Canary Bird,1961-07-25\n")
    visits.write_text(
        "id,location_id,provider_id,service_id,patient_id,start\n"
        f"1001,main,dr-kaya,check-up,1001,{tuesday(9)}\n"
    )
    assert "2 created" in imported(run, patients, visits, "--clinic", clinic)
    assert query(database.owner_url, "SELECT id = patient_id FROM appointment") == [(True,)]
    output = tmp_path / "out.yaml"
    assert run("export", "--clinic", clinic, "-o", output).returncode == 0
    assert f"0 created, 0 changed, {ENTRIES + 2} unchanged" in imported(run, output)


def test_an_export_may_leave_visits_out(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """Without appointments, or without the patients whom they name, none is in the file; the latter is told."""
    imported(run, EXAMPLE)
    imported(run, visits_file(tmp_path))
    clinic, output = clinic_of(database), tmp_path / "out.yaml"
    done = run("export", "--clinic", clinic, "--no-appointments", "-o", output)
    assert done.returncode == 0
    assert "appointments:" not in output.read_text()
    assert "patients:" in output.read_text()
    done = run("export", "--clinic", clinic, "--no-patients", "-o", output)
    assert "Without the patients the appointments are left out too" in done.stderr
    assert "appointments:" not in output.read_text()


def test_faults_of_visits_are_told_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    """Fields, ids, states and times that cannot be are told with their lines and without anything said of a patient."""
    file = tmp_path / "visits.yaml"
    file.write_text(
        "clinic: {id: harbour-clinic, name: Harbour Clinic, default_timezone: America/New_York}\n"
        "appointments:\n"
        "  - {provider_id: a, service_id: b, patient_id: c, start: 2027-03-01T09:00}\n"
        "  - {id: b, provider_id: a, service_id: b, start: 2027-03-01T09:00}\n"
        "  - {id: c, provider_id: a, service_id: b, patient_id: c, start: tomorrow at nine o'clock}\n"
        "  - {id: d, provider_id: a, service_id: b, patient_id: c, start: 2027-03-01T09:00, status: held}\n"
        "  - {id: e, provider_id: a, service_id: b, patient_id: c, start: 2027-03-01T09:00, room: x}\n"
        "  - {id: e, provider_id: a, service_id: b, patient_id: c, start: 2027-03-01T09:00}\n"
        "  - {id: e, provider_id: a, service_id: b, patient_id: c, start: 2027-03-01T09:00}\n"
        "  - {id: f, provider_id: [a], service_id: b, patient_id: c, start: 2027-03-01T09:00}\n"
        "  - Canary\n"
        "  - {id: g, provider_id: a, service_id: b, patient_id: c, start: 2027-03-01T09:00,\n"
        f"     notes: {'Canary' * 700}}}\n"
    )
    done = run("import", file)
    assert done.returncode == 1
    told = [line.partition("visits.yaml:")[2] for line in done.stdout.splitlines() if "visits.yaml:" in line]
    assert [line.partition(":")[0] for line in told] == ["3", "4", "5", "6", "7", "9", "10", "11", "13"], told
    assert told[1] == "4: appointments: patient_id value is empty, which is not a valid UUID"
    assert "must be one of: scheduled, confirmed, checked_in" in told[3]
    assert "appointments: id is given twice" in told[5]
    assert "Canary" not in done.stdout + done.stderr


def test_refusals_of_visits_are_told_and_undo_everything(
    run: Run, database: MigratedDatabase, tmp_path: Path
) -> None:
    """Every visit that cannot be booked is told with its line and reason, dry run or not, and no entry is changed."""
    imported(run, EXAMPLE)
    clinic, table = clinic_of(database), tmp_path / "appointments.csv"
    header = "id,location_id,provider_id,service_id,patient_id,start,notes,room_id\n"
    table.write_text(
        header
        + f"a,main,dr-kaya,check-up,rosalind-meyer,{tuesday(9)},Canary,\n"
        + f"b,main,dr-kaya,check-up,tomas-novak,{tuesday(9)},,\n"
        + f"c,main,dr-kaya,check-up,tomas-novak,{tuesday(20)},,\n"
        + f"d,main,dr-kaya,check-up,nobody,{tuesday(11)},,\n"
        + f"e,main,dr-kaya,nothing,tomas-novak,{tuesday(11)},,\n"
    )
    more = tmp_path / "more.yaml"
    more.write_text("rooms:\n  - {id: r9, location_id: main, name: Nine}\n")
    for arguments in (("--dry-run",), ()):
        done = run("import", table, more, "--clinic", clinic, *arguments)
        assert done.returncode == 1
        told = [line.partition("appointments.csv:")[2] for line in done.stdout.splitlines()]
        assert [line.partition(":")[0] for line in told if line] == ["3", "4", "5", "6"]
        assert (
            "appointments refused: The provider is taken in part of that time (SLOT_ALREADY_BOOKED)"
            in told[0]
        )
        assert "(OUTSIDE_HOURS)" in told[1]
        assert "There is no such patient (NOT_FOUND)" in told[2]
        assert "There is no such service (NOT_FOUND)" in told[3]
        assert "4 faults; nothing was changed." in done.stderr
        assert "Canary" not in done.stdout + done.stderr
    assert query(database.owner_url, COUNTED, clinic) == [(0,)]
    assert query(database.owner_url, "SELECT count(*) FROM room WHERE name = 'Nine'") == [(0,)]
    table.write_text(header + f"a,main,dr-kaya,check-up,rosalind-meyer,{tuesday(9)},Canary,\n")
    assert "1 created" in imported(run, table, "--clinic", clinic)
    assert "0 created, 0 changed, 1 unchanged" in imported(run, table, "--clinic", clinic)
    stored = query(database.owner_url, "SELECT id::text FROM appointment WHERE clinic_id = %s", clinic)
    assert stored == [(id_of("a", clinic),)]


def test_a_visit_that_has_begun_needs_a_reason(run: Run, database: MigratedDatabase, tmp_path: Path) -> None:
    """What began before now is booked like any booking: against the notice, which staff may override with a reason."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days = (yesterday - timedelta(days=back) for back in range(4))
    day = next(day for day in days if day.weekday() in (0, 1, 3))  # when Dr. Kaya always works
    file, statuses = tmp_path / "visits.yaml", ("scheduled", "checked_in", "in_progress")
    text = "appointments:\n" + "".join(
        f"  - {{id: {word}, location_id: main, provider_id: dr-kaya, service_id: check-up,\n"
        f"     patient_id: tomas-novak, status: {word}, start: {day}T{hour:02}:00%(reason)s}}\n"
        for hour, word in enumerate(statuses, 9)
    )
    imported(run, EXAMPLE)
    clinic = clinic_of(database)
    file.write_text(text % {"reason": ""})
    assert run("import", file, "--clinic", clinic).stdout.count("(LEAD_TIME)") == len(statuses)
    file.write_text(text % {"reason": ", override_reason: came over from another scheduler"})
    assert "3 created" in imported(run, file, "--clinic", clinic)
    stored = query(
        database.owner_url, "SELECT status, overridden_rules FROM appointment ORDER BY start_ts_utc"
    )
    assert stored == [(word, ["LEAD_TIME"]) for word in statuses]
