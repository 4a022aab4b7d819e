"""Files beside the calls of a running service: bookings go on during an import, an export shows one moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml

from ctl.transfer.sections import id_of
from database.locks import directory_keys
from tests.integration.directory.conftest import Directory, Suite
from tests.integration.directory.test_displacement import book
from tests.support.clinic_rows import insert
from tests.support.command import ROOT, command_environment
from tests.support.invariants import query
from tests.support.practice import Practice, new_id
from tests.support.waiting import wait_until

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE %s
"""


@contextmanager
def started(suite: Suite, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command while it runs, on the database and with the keys of the service."""
    environment = {
        "MEDFORALL_DATABASE_URL": suite.database.owner_url,
        "MEDFORALL_MASTER_KEY_FILE": str(suite.keys.master),
        "MEDFORALL_HOME": str(suite.keys.folder / "home"),
    }
    command = [sys.executable, "-m", "ctl", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=command_environment(environment), stdout=pipe, stderr=pipe, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def await_waiting(suite: Suite, words: str) -> None:
    """Return when a statement with these words waits for a lock."""
    url = suite.database.owner_url
    wait_until(lambda: query(url, _WAITING, f"%{words}%") == [(1,)], timeout_s=60, what=f"{words} to wait")


async def test_bookings_go_on_while_patients_are_imported(
    suite: Suite, directory: Directory, practice: Practice, tmp_path: Path
) -> None:
    """An import that is held up among its patients, before its other entries, keeps no booking waiting."""
    clinic, last = practice.clinic, f"p{600}"
    file = tmp_path / "clinic.yaml"
    people = [{"id": f"p{at}", "name": "Jane Doe", "dob": "1980-04-30"} for at in range(601)]
    rooms = [{"id": "r1", "location_id": practice.location, "name": "New"}]
    named = {"id": clinic, "name": "Renamed", "default_timezone": practice.zone}
    file.write_text(yaml.safe_dump({"clinic": named, "rooms": rooms, "patients": people}, sort_keys=False))
    with psycopg.connect(suite.database.owner_url) as blocker:
        blocker.execute(
            "INSERT INTO resource (clinic_id, id, kind) VALUES (%s, %s, 'patient')",
            (clinic, id_of(last, clinic)),
        )
        with started(suite, "import", str(file)) as running:
            await_waiting(suite, "INSERT INTO resource")
            assert (await book(directory, practice, 10)).id
            blocker.rollback()
            said, complaint = running.communicate(timeout=60)
    assert running.returncode == 0, complaint
    assert "602 created, 1 changed" in said


async def test_an_import_waits_for_bookings_before_it_keeps_them_from_a_patient(
    suite: Suite, directory: Directory, practice: Practice, tmp_path: Path
) -> None:
    """A booking under way, judged on the directory, still gets at patients that an import retires or makes nobody."""
    people = [(await directory.add("Patient", name="Bo Ek", dob="1990-01-01")).id for _ in range(3)]
    file = tmp_path / "clinic.yaml"
    wanted: list[dict[str, Any]] = [{"active": False}, {"placeholder": True}, {"notes": "prefers mornings"}]
    patients = [
        {"id": patient, "name": "Bo Ek", "dob": "1990-01-01"} | change
        for patient, change in zip(people, wanted, strict=True)
    ]
    rooms = [{"id": "r1", "location_id": practice.location, "name": "New"}]
    named = {"id": practice.clinic, "name": "Renamed", "default_timezone": practice.zone}
    file.write_text(yaml.safe_dump({"clinic": named, "rooms": rooms, "patients": patients}, sort_keys=False))
    keys = directory_keys(practice.clinic, [practice.service, practice.location])
    with psycopg.connect(suite.database.owner_url) as booking:
        booking.execute("SELECT pg_advisory_xact_lock_shared(key) FROM unnest(%s::bigint[]) AS key", (keys,))
        with started(suite, "import", str(file)) as running:
            await_waiting(suite, "pg_advisory_xact_lock")
            booking.execute("SET LOCAL lock_timeout = '100ms'")
            booking.execute("SELECT FROM patient WHERE id = ANY (%s::uuid[]) FOR KEY SHARE", (people,))
            booking.rollback()
            said, complaint = running.communicate(timeout=60)
    assert running.returncode == 0, complaint
    assert "1 created, 4 changed, 0 unchanged" in said
    rows = query(
        suite.database.owner_url,
        "SELECT active, placeholder FROM patient WHERE id = ANY (%s::uuid[])"
        " ORDER BY array_position(%s::uuid[], id)",
        people,
        people,
    )
    assert rows == [(False, False), (True, True), (True, False)]


async def test_an_export_shows_one_moment(
    suite: Suite, directory: Directory, practice: Practice, tmp_path: Path
) -> None:
    """A room and a service made while an export reads are both missing from it, whichever it had come to."""
    await directory.add("Service", name="Before", default_duration_min=20)
    output = tmp_path / "out.yaml"
    with psycopg.connect(suite.database.owner_url) as other:
        other.execute("LOCK TABLE service IN ACCESS EXCLUSIVE MODE")
        with started(
            suite, "export", "--clinic", practice.clinic, "--no-patients", "-o", str(output)
        ) as running:
            await_waiting(suite, "FROM service WHERE")
            own = {"clinic_id": practice.clinic, "id": new_id()}
            lengths = {"default_duration_min": 20, "min_duration_min": 20, "max_duration_min": 20}
            insert(other, "service", **own, name="Meanwhile", **lengths)
            other.commit()
            _, complaint = running.communicate(timeout=60)
    assert running.returncode == 0, complaint
    assert "Before" in output.read_text()
    assert "Meanwhile" not in output.read_text()
