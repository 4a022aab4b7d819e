"""A clinic set up from the example file, a change of its hours that searches show at once, and the demo's patients."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from ctl.run_file import DemoFacts, RunFile
from ctl.transfer.sections import id_of
from tests.support.command import medforall
from tests.support.rest import Rest
from tests.support.suites import admin_token, home_of, imported_example
from tests.support.waiting import wait_until

WITHIN_S = 1.0


@pytest.fixture(scope="module")
def clinic(suite: RunFile, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example's clinic under another id, imported into the running suite."""
    return imported_example(suite, "changing-clinic", tmp_path_factory.mktemp("changing"))


@pytest.fixture(scope="module")
def rest(suite: RunFile, clinic: str) -> Rest:
    return Rest(suite.gateway_url, clinic, admin_token(suite, clinic))


def next_monday() -> str:
    today = datetime.now(UTC).date()
    return (today + timedelta(days=14 - today.weekday())).isoformat()


def slots(rest: Rest, clinic: str) -> list[dict[str, Any]]:
    """The consultations that are offered at the main place on a Monday."""
    return rest.slots(id_of("consultation", clinic), id_of("main", clinic), next_monday())


def test_searches_show_changed_hours_within_a_second(rest: Rest, clinic: str) -> None:
    """Closing Mondays takes the Monday's slots away, and opening them again brings back the same ones."""
    before = slots(rest, clinic)
    assert before
    path = f"/locations/{id_of('main', clinic)}"
    status, said = rest.call("GET", path)
    assert status == 200, said
    hours = said["location"]["hours"]
    for wanted, offered in ((hours[1:], 0), (hours, len(before))):
        status, said = rest.call("PATCH", path, {"hours": wanted})
        assert status == 200, said
        changed_s = time.monotonic()
        wait_until(lambda count=offered: len(slots(rest, clinic)) == count, what="the search")  # type: ignore[misc]
        assert time.monotonic() - changed_s < WITHIN_S
    assert slots(rest, clinic) == before


def test_searches_show_what_became_of_the_clinic(suite: RunFile, rest: Rest, clinic: str) -> None:
    """A suspended clinic is searched like before; an archived one is not found, within a second, until it is back."""
    home = str(home_of(suite).path)
    token = medforall("token", "--role", "platform", "--home", home).stdout.strip()
    platform = Rest(suite.gateway_url, clinic, token)
    address = f"/availability?serviceId={id_of('consultation', clinic)}&locationId={id_of('main', clinic)}"
    search = f"{address}&start={next_monday()}T00:00&end={next_monday()}T23:00"
    for word, answer in (("SUSPENDED", 200), ("ARCHIVED", 404), ("ACTIVE", 200)):
        status, said = platform.call("POST", ":setStatus", {"status": f"CLINIC_STATUS_{word}"})
        assert status == 200, said
        changed_s = time.monotonic()
        wait_until(lambda wanted=answer: rest.call("GET", search)[0] == wanted, what=word)  # type: ignore[misc]
        assert time.monotonic() - changed_s < WITHIN_S


def test_patients_of_the_demo_are_read_and_found(suite: RunFile, demo: DemoFacts) -> None:
    """What the demo sealed opens through the directory, and is found by the beginning of its name."""
    rest = Rest(suite.gateway_url, demo.clinic_id, suite.tokens["front_desk"])
    status, said = rest.call("GET", f"/patients/{demo.patient_ids[0]}")
    assert status == 200, said
    name = said["patient"]["name"]
    status, found = rest.call("GET", f"/patients?namePrefix={quote(name)}&pageSize=200")
    assert status == 200, found
    assert said["patient"]["id"] in [patient["id"] for patient in found["patients"]]
