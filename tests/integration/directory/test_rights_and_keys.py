"""Whose entries a provider may change, and whose keys a clinic's values are sealed by."""

from __future__ import annotations

import base64
import json

import pytest

from booking_svc.directory.entities import Entry
from booking_svc.store.keys import StoredCiphers
from booking_svc.store.new_clinics import StoredClinics
from booking_svc.store.oversight import READ_CLINIC, clinic_of
from booking_svc.store.pool import Pool
from booking_svc.store.session import Session
from booking_svc.store.turns import Turns
from chassis.auth.principal import Role
from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys
from database.clinic_keys import ClinicCiphers
from database.settings import DatabaseSettings
from database.transaction import Database
from tests.integration.directory.conftest import Directory, Suite, token_of
from tests.support.booking import outcome
from tests.support.practice import Practice, new_practice

KEYS = MasterKeys([MasterKey("one", bytes(range(32)))])


async def test_a_provider_takes_nobody_elses_preference(directory: Directory, suite: Suite) -> None:
    """Giving another's preference one's own name is no way to change it."""
    practice = new_practice(suite.database, providers=2)
    own, other = practice.providers
    directory.clinic = practice.clinic
    directory.token = token_of(suite.keys, practice.clinic, Role.ADMIN)
    theirs = await directory.add("Preference", provider_id=other, weight=70)
    directory.token = token_of(suite.keys, practice.clinic, Role.PROVIDER, provider_id=own)
    change = directory.call(
        "UpdatePreference",
        preference_id=theirs.id,
        preference={"provider_id": own},
        update_mask={"paths": ["provider_id"]},
    )
    assert (await outcome(change)).startswith("PERMISSION_DENIED")
    mine = await directory.add("Preference", provider_id=own, weight=70)
    mine_changed = directory.call(
        "UpdatePreference",
        preference_id=mine.id,
        preference={"weight": 60},
        update_mask={"paths": ["weight"]},
    )
    assert await outcome(mine_changed) == "OK"


async def test_a_provider_is_not_told_why_others_are_away(directory: Directory, suite: Suite) -> None:
    """Of another's time off it sees when, in a list and by itself; of its own it sees the reason too."""
    practice = new_practice(suite.database, providers=2)
    own, other = practice.providers
    directory.clinic = practice.clinic
    directory.token = token_of(suite.keys, practice.clinic, Role.ADMIN)
    span = {"start": "2027-03-01T09:00", "end": "2027-03-01T17:00", "kind": "WINDOW_KIND_UNAVAILABLE"}
    reasons = []
    for resource in practice.providers:
        await directory.call("CreateWindow", window={**span, "resource_id": resource, "reason": "surgery"})
    directory.token = token_of(suite.keys, practice.clinic, Role.PROVIDER, provider_id=own)
    for resource in (own, other):
        windows = (await directory.call("ListWindows", resource_id=resource)).windows
        [away] = [window for window in windows if window.start == span["start"]]
        read = (await directory.call("GetWindow", window_id=away.id)).window
        reasons.append((away.reason, read.reason))
    assert reasons == [("surgery", "surgery"), ("", "")]


async def test_who_only_writes_personal_data_is_told_none(
    directory: Directory, practice: Practice, suite: Suite
) -> None:
    """An integration with `write:phi` alone changes a patient and learns nothing by that; with `read:phi` it does."""
    asa = await directory.add("Patient", name="Asa Berg", dob="1980-04-30", notes="afraid of needles")
    change = {"patient_id": asa.id, "patient": {"notes": "calm"}, "update_mask": {"paths": ["notes"]}}
    directory.token = suite.keys.token(practice.clinic, "service", scopes=("write:phi",))
    blind = (await directory.call("UpdatePatient", **change)).patient
    assert (blind.id, blind.name, blind.dob, blind.notes) == (asa.id, "", "", "")
    directory.token = suite.keys.token(practice.clinic, "service", scopes=("write:phi", "read:phi"))
    seen = (await directory.call("UpdatePatient", **change)).patient
    assert (seen.name, seen.notes) == ("Asa Berg", "calm")


def forged(*parts: object) -> str:
    """A page token that says this."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


SOME_ID = "01a205a0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("method", "token"),
    [
        ("ListServiceRules", forged("high", SOME_ID, [], False)),
        ("ListLocations", forged("Here", "nothing", [], False)),
        ("ListLocations", base64.urlsafe_b64encode(b"5").decode()),
        ("ListAuditEvents", forged("2026-02-20T09:00:00+00:00", "nothing")),
        ("ListAuditEvents", forged(7, SOME_ID)),
    ],
)
async def test_a_page_token_of_nobody_is_refused(directory: Directory, method: str, token: str) -> None:
    """Whatever a made-up token says, the caller is told that it is wrong."""
    assert (await outcome(directory.call(method, page_token=token))).startswith("INVALID_ARGUMENT")


async def test_a_repeated_create_of_a_clinic_leaves_its_keys_alone(suite: Suite, practice: Practice) -> None:
    """While a clinic is created that is there already, other calls go on with the clinic's own key."""
    settings, ciphers = DatabaseSettings(), ClinicCiphers(KEYS)
    pool = Pool(suite.database.app_url, settings, Turns(4, patience_s=1))
    workers = Database(suite.database.worker_url, settings, application_name="test")
    known = await StoredCiphers(pool, ciphers).cipher(practice.clinic)
    seen = []

    async def work(session: Session) -> tuple[Entry, bool]:
        seen.append(ciphers.cached(practice.clinic))
        pending = session.queue(READ_CLINIC, practice.clinic)
        await session.run()
        return clinic_of(pending.rows()[0]), True

    _, was_there = await StoredClinics(pool, workers, ciphers).create(practice.clinic, work)
    await pool.stop()
    assert was_there
    assert seen == [known]
    assert ciphers.cached(practice.clinic) is known
