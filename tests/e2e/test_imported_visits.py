"""Visits imported beside a running suite: searches and projections know of them as of bookings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ctl.run_file import RunFile
from ctl.transfer.sections import id_of
from tests.support.command import medforall
from tests.support.rest import Rest
from tests.support.suites import admin_token, home_of, imported_example
from tests.support.waiting import wait_until

WORD = "clinic-with-visits"


def next_tuesday() -> str:
    today = datetime.now(UTC).date()
    return (today + timedelta(days=15 - today.weekday())).isoformat()


def starts(rest: Rest, clinic: str) -> set[str]:
    """When Dr. Kaya is offered for a check-up on that Tuesday, local time."""
    service, place, provider = (id_of(word, clinic) for word in ("check-up", "main", "dr-kaya"))
    slots = rest.slots(service, place, next_tuesday(), provider)
    return {slot["start"][11:16] for slot in slots}


def test_imported_visits_are_searched_around_and_verified(suite: RunFile, tmp_path: Path) -> None:
    """Imported times are offered no more, canceled ones still are, and every projected value equals the truth."""
    clinic = imported_example(suite, WORD, tmp_path)
    rest = Rest(suite.gateway_url, clinic, admin_token(suite, clinic))
    assert {"09:00", "10:00"} <= starts(rest, clinic)
    table = tmp_path / "appointments.csv"
    table.write_text(
        "id,location_id,provider_id,service_id,patient_id,start,status\n"
        f"a,main,dr-kaya,check-up,rosalind-meyer,{next_tuesday()}T09:00,confirmed\n"
        f"b,main,dr-kaya,check-up,tomas-novak,{next_tuesday()}T10:00,canceled\n"
    )
    home = str(home_of(suite).path)
    done = medforall("import", str(table), "--clinic", clinic, "--home", home)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: "09:00" not in starts(rest, clinic), what="the search")
    assert "10:00" in starts(rest, clinic)
    status, said = rest.call("GET", f"/appointments/{id_of('a', clinic)}")
    assert (status, said["appointment"]["status"]) == (200, "confirmed"), said
    verified = medforall("projection", "verify", "--clinic", clinic, "--home", home)
    assert verified.returncode == 0, verified.stdout + verified.stderr
