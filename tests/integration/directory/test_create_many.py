"""Many entries made at once are what as many calls would have made; the one that is refused is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from booking_svc.directory.entities import Kind
from booking_svc.store import statements
from booking_svc.usecases.claim_rewriting import ClaimRewriting
from booking_svc.usecases.create_many import CreateMany, NewEntry, OneRefused
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.displacement import VisitsConcerned
from booking_svc.usecases.edit_directory import EditDirectory
from booking_svc.usecases.recording import Recorder
from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys
from ctl.seed.directories import import_clinics
from ctl.seed.documents import demo_clinic, read_template
from ctl.transfer.sections import id_of
from ctl.transfer.sessions import ImportSession, clinic_session, new_id, operator
from scheduling.errors import Conflict, DomainError, Invalid, NotFound
from tests.support.databases import MigratedDatabase

KEYS = MasterKeys([MasterKey("test", b"k" * 32)])
NOWHERE = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Place:
    """Entries of an imported clinic without visits, by the words of its document."""

    clinic: str

    def __getitem__(self, word: str) -> str:
        return id_of(word, self.clinic)


@pytest.fixture
async def place(database: MigratedDatabase) -> Place:
    """The first demo clinic before anybody books."""
    clinic = demo_clinic(read_template(), 1, seed=1, first_day=date(2027, 3, 8))
    await import_clinics(database.owner_url, KEYS, [clinic], progress=lambda _: None)
    return Place(clinic.id)


@pytest.fixture
async def session(database: MigratedDatabase, place: Place) -> AsyncIterator[ImportSession]:
    """A transaction of the clinic that is never committed."""
    async with clinic_session(database.owner_url, place.clinic, KEYS) as begun:
        yield begun


async def create(session: ImportSession, kind: Kind, *records: dict[str, Any]) -> list[str]:
    """The ids of what was made."""
    recorder = DirectoryRecorder(new_id, lambda: datetime.now(UTC))
    editing = EditDirectory(VisitsConcerned(ClaimRewriting(Recorder(new_id))), recorder, new_id)
    wanted = [NewEntry(record.pop("id", new_id()), record) for record in records]
    done = await CreateMany(editing, recorder).work(session, operator("test"), kind, wanted)
    await session.run()
    return [edited.entry.id for edited in done]


def room(place: Place, name: str, **fields: Any) -> dict[str, Any]:
    return {"location_id": place["main"], "name": name, "turnaround_min": 0, **fields}


def window(resource_id: str, **fields: Any) -> dict[str, Any]:
    hours = {"start": "2026-01-05T09:00", "end": "2026-01-05T17:00", "kind": "available", "reason": ""}
    return {"resource_id": resource_id, **hours, **fields}


async def test_windows_of_all_kinds_go_to_their_tables(session: ImportSession, place: Place) -> None:
    """Windows of a provider, a room and an item may come together, and keep their order."""
    windows = [window(found) for found in (place["exam-1"], place["dr-kaya"], place["ecg"], place["dr-kaya"])]
    made = await create(session, Kind.WINDOW, *windows)
    assert len(set(made)) == 4


async def test_the_refused_entry_is_named(session: ImportSession, place: Place) -> None:
    """Whatever is wrong with the second of three, it is the second that is told, and why."""
    rule = {"rule_type": "allowed_provider", "rule_payload": {"provider_ids": [place["dr-kaya"]]}}
    cases: list[tuple[Kind, list[dict[str, Any]], type[DomainError]]] = [
        (Kind.ROOM, [room(place, "A"), room(place, "B", location_id=NOWHERE), room(place, "C")], NotFound),
        (Kind.ROOM, [room(place, "A"), room(place, ""), room(place, "C")], Invalid),
        (Kind.ROOM, [room(place, "A"), room(place, "A"), room(place, "C")], Conflict),
        (Kind.ROOM, [room(place, "A"), room(place, "B", id=place["exam-1"]), room(place, "C")], Conflict),
        (
            Kind.WINDOW,
            [window(place["exam-1"]), window(place["patient-1"]), window(place["exam-1"])],
            NotFound,
        ),
        (Kind.WINDOW, [window(place["exam-1"]), window(place["exam-1"], location_id=place["main"])], Invalid),
        (Kind.SERVICE_RULE, [rule, {**rule, "rule_payload": {"provider_ids": [NOWHERE]}}, rule], NotFound),
    ]
    for kind, records, refusal in cases:
        session.queue(statements.SAVEPOINT)
        with pytest.raises(OneRefused) as refused:
            await create(session, kind, *(dict(record) for record in records))
        assert refused.value.place == 1
        assert isinstance(refused.value.refusal, refusal)
        session.rollback_to_savepoint()
        await session.run()
