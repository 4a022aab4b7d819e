"""Odd texts and times through REST and the services behind it: stored, or refused by name, never a fault."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from ctl.run_file import DemoFacts, RunFile

TEXTS = {
    "right to left": "\u202eevil\u202c \u05d3\u05f4\u05e8",
    "four bytes": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U00020000",
    "homoglyphs": "D\u0433. Sm\u0456th",
    "zero width": "Jane\u200b\u200dDoe\ufeff",
    "combining": "e\u0301" * 20,
    "separators": "a\u2028b\u2029c\u0085d",
    "a noncharacter": "\uffff \ufdd0",
}
SMALLEST = "2026-12-01T09:00"
TIMES = {
    "an end before its start": {"start": "2026-12-02T00:00", "end": "2026-12-01T00:00"},
    "an end at its start": {"start": SMALLEST, "end": SMALLEST},
    "year 0": {"start": "0000-01-01T00:00", "end": "0000-01-02T00:00"},
    "year 10000": {"start": "10000-01-01T00:00", "end": "10000-01-02T00:00"},
    "a sixtieth second": {"start": "2026-12-01T09:00:60", "end": "2026-12-02T00:00"},
    "hour 24": {"start": "2026-12-01T24:00", "end": "2026-12-02T12:00"},
    "February 30": {"start": "2027-02-30T09:00", "end": "2027-03-02T00:00"},
    "an offset of 99 hours": {"start": "2026-12-01T09:00+99:00", "end": "2026-12-02T00:00"},
    "a week date": {"start": "2026-W50-1", "end": "2026-W50-2"},
    "other digits": {"start": "\u0662\u0660\u0662\u0666-12-01T09:00", "end": "2026-12-02T00:00"},
}


def call(suite: RunFile, demo: DemoFacts, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(
        method,
        f"{suite.gateway_url}/v1/clinics/{demo.clinic_id}{path}",
        headers={"authorization": f"Bearer {suite.tokens['admin']}", "idempotency-key": str(uuid.uuid4())},
        timeout=20,
        **more,
    )


@pytest.mark.parametrize("kind", TEXTS)
def test_odd_texts_come_back_as_they_are(suite: RunFile, demo: DemoFacts, kind: str) -> None:
    """A name in any script is stored sealed and read again letter by letter, or refused by name; never a fault."""
    text = TEXTS[kind]
    made = call(suite, demo, "POST", "/patients", json={"name": text, "dob": "1980-04-30"})
    if made.status_code == 400:
        assert made.json()["details"]["violations"][0]["field"].endswith("name")
        return
    assert made.status_code == 201, made.text
    patient = made.json()["patient"]
    read = call(suite, demo, "GET", f"/patients/{patient['id']}")
    assert read.json()["patient"]["name"] == patient["name"]
    assert patient["name"] == text.strip()
    gone = call(suite, demo, "POST", f"/patients/{patient['id']}:deactivate", json={})
    assert gone.status_code < 500, gone.text


@pytest.mark.parametrize("kind", TIMES)
def test_odd_times_are_refused(suite: RunFile, demo: DemoFacts, kind: str) -> None:
    """A period that is none, or an instant that never was, is 400 with the field that is wrong."""
    place = {"serviceId": demo.service_id, "locationId": demo.location_id}
    answer = call(suite, demo, "GET", "/availability", params=place | TIMES[kind])
    assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_ARGUMENT"), answer.text


@pytest.mark.parametrize("key", ["\u200bkey-of-a-client", "key\u00a0of a client", "k" * 10_000])
def test_odd_keys_are_refused_or_work(suite: RunFile, demo: DemoFacts, key: str) -> None:
    """An idempotency key that is no plain word is refused by name or used; never a fault."""
    body = {"name": "Key Holder", "dob": "1980-04-30"}
    answer = call(suite, demo, "POST", "/patients", json=body, params={"idempotencyKey": key})
    assert answer.status_code in (200, 201, 400, 431), answer.text


SPAN = {"kind": "available", "start": "2027-03-01T09:00", "end": "2027-03-01T17:00"}
FAR = {"start": "9999-03-01T09:00", "end": "9999-03-01T17:00"}
PREVIEW = {"startDate": "2027-03-01", "endDate": "2027-03-07"}
ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a window of the year 9999": ("/windows", SPAN | FAR),
    "a shift of the year 9999": ("/windows", SPAN | FAR | {"recurrenceRule": "FREQ=DAILY"}),
    "a rule to the year 9999": ("/windows", SPAN | {"recurrenceRule": "FREQ=DAILY;UNTIL=99991231T235900"}),
    "a closure of the year 1": ("/closures", {"start": "0001-03-01T09:00", "end": "0001-03-02T09:00"}),
    "a preview to the year 9999": ("/windows:preview", {"window": SPAN} | PREVIEW | {"endDate": "9999-12-31"}),
    "a preview from the year 9999": ("/windows:preview", {"window": SPAN} | PREVIEW | {"startDate": "9999-06-01"}),
    "a feature of 300 digits": ("/rooms", {"name": "Odd", "features": {"beds": 1e300}}),
    "credentials of 22 digits": ("/providers", {"name": "Odd", "credentials": {"license": 2**70}}),
    "a limit that is null": ("/serviceRules", {"ruleType": "max_daily", "rulePayload": {"max_per_day": None}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENTRIES)
def test_odd_entries_of_the_directory_are_refused(suite: RunFile, demo: DemoFacts, kind: str) -> None:
    """Years, numbers and nulls that mean nothing are 400 by field, and searches of the place go on."""
    path, body = ENTRIES[kind]
    if "windows" in path:
        window = body.get("window", body) | {"resourceId": demo.provider_ids[0]}
        body = body | {"window": window} if "window" in body else window
    elif path == "/rooms":
        body = body | {"locationId": demo.location_id}
    answer = call(suite, demo, "POST", path, json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"]["violations"], answer.text
    place = {"serviceId": demo.service_id, "locationId": demo.location_id}
    days = {"start": "2027-03-01T00:00", "end": "2027-03-02T00:00"}
    assert call(suite, demo, "GET", "/availability", params=place | days).status_code == 200
