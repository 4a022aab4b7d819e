"""Refusals over REST speak the names of REST: those of the document, never the contract's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ctl.run_file import DemoFacts, RunFile

DAY = {"start": "2031-03-03", "end": "2031-03-04"}
BAD: dict[str, tuple[str, str, Any]] = {
    "two times of a list": ("GET", "/appointments?date=2031-03-03&dateRange=2031-03-03,2031-03-04", None),
    "a range backwards": ("GET", "/appointments?dateRange=2031-03-04,2031-03-03", None),
    "a range that is none": ("GET", "/appointments?dateRange=2031-03-04", None),
    "a page and a token": ("GET", "/appointments?page=2&pageToken=abc", None),
    "a token that is none": ("GET", "/appointments?pageToken=abc", None),
    "a deep page": ("GET", "/appointments?page=100000&limit=100", None),
    "a search's token": ("GET", "/availability?SEARCH&pageToken=abc", None),
    "a consistency token": ("GET", "/availability?SEARCH&consistencyToken=abc", None),
    "a location that is none": ("GET", "/availability?serviceId=x&locationId=y&start=z&end=z", None),
    "windows of nothing": ("GET", "/windows", None),
    "patients without a word": ("GET", "/patients", None),
    "patients without a word, posted": ("POST", "/patients:search", {}),
    "a room that is not chosen": ("POST", "/appointments", {"BOOKING": 1, "roomSelectionMode": "specific"}),
    "an appointment of nothing": ("POST", "/appointments", {}),
    "a time zone": ("POST", "/locations", {"name": "x", "timezone": "Mars/Olympus"}),
    "a clinic's zone": ("PATCH", "", {"defaultTimezone": "Mars/Olympus"}),
    "a service's durations": (
        "POST",
        "/services",
        {"name": "x", "defaultDurationMin": 30, "minDurationMin": 60},
    ),
    "a service without anything": ("POST", "/services", {}),
    "a rule's type": ("POST", "/serviceRules", {"ruleType": "no_such", "rulePayload": {}}),
    "a window's recurrence": (
        "POST",
        "/windows",
        {"RESOURCE": 1, "kind": "available", "recurrenceRule": "FREQ=SOMETIMES"} | DAY,
    ),
    "a window that is too long": (
        "POST",
        "/windows",
        {"RESOURCE": 1, "kind": "available", "recurrenceRule": "FREQ=DAILY", "start": "2031-03-03T00:00"}
        | {"end": "2031-04-03T00:00"},
    ),
    "a patient's contact": (
        "POST",
        "/patients",
        {"name": "Jane Doe", "dob": "1980-04-30", "contact": {"preferredMethod": "pigeon"}},
    ),
    "a preview": (
        "POST",
        "/windows:preview",
        {"startDate": "2031-02-30", "endDate": "2031-03-03"},
    ),
}

CONTRACT_NAMES = re.compile(
    r"\b(date_range|page_token|consistency_token|[a-z]+_id|room_selection_mode|default_timezone|preferred_method|"
    r"(default|min|max)_duration_min|rule_type|rule_payload|recurrence_rule|(start|end)_date|name_prefix)\b"
)


def call(suite: RunFile, demo: DemoFacts, method: str, path: str, body: Any) -> httpx.Response:
    """The answer to one of BAD, with the demo clinic's ids in it."""
    search = f"serviceId={demo.service_id}&locationId={demo.location_id}&start=2031-03-03&end=2031-03-04"
    body = dict(body) if body is not None else None
    if body and body.pop("BOOKING", None):
        body |= {
            "patientId": demo.patient_ids[0],
            "serviceId": demo.service_id,
            "providerId": demo.provider_ids[0],
            "locationId": demo.location_id,
            "start": "2031-03-03T09:00",
        }
    if body and body.pop("RESOURCE", None):
        body |= {"resourceId": demo.provider_ids[0]}
    return httpx.request(
        method,
        f"{suite.gateway_url}/v1/clinics/{demo.clinic_id}{path.replace('SEARCH', search)}",
        headers={"authorization": f"Bearer {suite.tokens['admin']}"},
        json=body,
        timeout=20,
    )


@pytest.fixture(scope="module")
def names(suite: RunFile) -> set[str]:
    """Every name of a parameter or a field in the document."""
    document = json.loads(httpx.get(f"{suite.gateway_url}/openapi.json").text)
    return set(_names(document)) | {"body"}


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, dict):
        if "in" in value and isinstance(value.get("name"), str):
            yield value["name"]
        yield from value.get("properties", {}) if isinstance(value.get("properties"), dict) else ()
        for item in value.values():
            yield from _names(item)


@pytest.mark.parametrize("kind", BAD)
def test_violations_have_the_names_of_rest(
    suite: RunFile, demo: DemoFacts, names: set[str], kind: str
) -> None:
    """Each violation's field is a path of JSON names of the document; no sentence has another name of one."""
    answer = call(suite, demo, *BAD[kind])
    assert answer.status_code == 400, answer.text
    refusal = answer.json()
    violations = refusal["details"]["violations"]
    assert violations
    for violation in violations:
        parts = re.sub(r"\[[^\]]*\]", "", violation["field"]).split(".")
        assert set(parts) <= names, violation
    said = [refusal["message"], *(violation["description"] for violation in violations)]
    assert not CONTRACT_NAMES.search(" ".join(said)), said
