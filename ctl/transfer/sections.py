"""The sections of a clinic's file: which kind of entry each holds, and in which order they are written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid5

from medforall.directory.v1 import directory_types_pb2 as types

from booking_svc.directory.entities import PLAIN, PROVIDER_WINDOW, Entity, Kind
from booking_svc.usecases.clinics import CLINIC
from booking_svc.usecases.patients import PATIENT

_IDS: Final = UUID("6d656466-6f72-5a11-8000-696d706f7274")


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its word in the file, its message, and the entity that it is checked as."""

    word: str
    message: type[Any]
    entity: Entity

    @property
    def kind(self) -> Kind:
        """The kind of its entries."""
        return self.entity.kind


CLINIC_SECTION: Final = Section("clinic", types.Clinic, CLINIC)
PATIENTS: Final = Section("patients", types.Patient, PATIENT)
LISTS: Final = (
    Section("locations", types.Location, PLAIN[Kind.LOCATION]),
    Section("closures", types.Closure, PLAIN[Kind.CLOSURE]),
    Section("providers", types.Provider, PLAIN[Kind.PROVIDER]),
    Section("rooms", types.Room, PLAIN[Kind.ROOM]),
    Section("equipment", types.Equipment, PLAIN[Kind.EQUIPMENT]),
    Section("services", types.Service, PLAIN[Kind.SERVICE]),
    Section("service_rules", types.ServiceRule, PLAIN[Kind.SERVICE_RULE]),
    Section("windows", types.Window, PROVIDER_WINDOW),
    Section("preferences", types.Preference, PLAIN[Kind.PREFERENCE]),
    PATIENTS,
)
"""In the order in which they refer to each other: later ones name earlier ones."""

BY_WORD: Final = {section.word: section for section in (CLINIC_SECTION, *LISTS)}
APPOINTMENTS: Final = "appointments"
"""The word of the section of visits, whose entries are bookings and no entries of the directory; it comes last."""

WORDS: Final = (*BY_WORD, APPOINTMENTS)
TABLES: Final = {"patients", "providers", "rooms", APPOINTMENTS}
"""The sections that may come as a CSV file."""

RESOURCE_KINDS: Final = (Kind.PROVIDER, Kind.ROOM, Kind.EQUIPMENT)


def is_uuid(word: str) -> bool:
    """Whether a word is an id as it is stored."""
    try:
        UUID(word)
    except ValueError:
        return False
    return True


# The same few are named by many entries.
@lru_cache(maxsize=65_536)
def id_of(word: str, clinic_id: str = "") -> str:
    """The id that a word of a file stands for: itself if it is a UUID, else always the same one for this clinic."""
    return str(UUID(word)) if is_uuid(word) else str(uuid5(_IDS, f"{clinic_id}/{word}"))
