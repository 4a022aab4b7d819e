"""A clinic as a diary is made for it: what is stored, read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection
from psycopg.rows import scalar_row

from database.facts import read_location_document
from database.location_facts import LocationFacts, build_location
from scheduling.facts import StaticFacts

_ZONE: Final = "SELECT default_timezone FROM clinic WHERE id = %s"
_LOCATIONS: Final = "SELECT id::text FROM location WHERE clinic_id = %s AND active ORDER BY name, id"
_PATIENTS: Final = (
    "SELECT id::text FROM patient WHERE clinic_id = %s AND active AND placeholder = %s ORDER BY id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicFacts:
    """An active clinic: its locations by name, and its patients, placeholders apart."""

    id: str
    zone: str
    locations: tuple[LocationFacts, ...]
    patient_ids: tuple[str, ...]
    placeholder_ids: tuple[str, ...] = ()

    @property
    def statics(self) -> tuple[StaticFacts, ...]:
        """What the engine is told of each location."""
        return tuple(location.static for location in self.locations)


def read_clinic(owner: Connection[Any], clinic_id: str) -> ClinicFacts:
    """Read a clinic that is there, as the owner of the database."""
    with owner.cursor(row_factory=scalar_row) as cursor:
        location_ids = cursor.execute(_LOCATIONS, (clinic_id,)).fetchall()
        patient_ids = cursor.execute(_PATIENTS, (clinic_id, False)).fetchall()
        placeholder_ids = cursor.execute(_PATIENTS, (clinic_id, True)).fetchall()
        zone = cursor.execute(_ZONE, (clinic_id,)).fetchone()
    documents = [read_location_document(owner, clinic_id, location_id) for location_id in location_ids]
    return ClinicFacts(
        id=clinic_id,
        zone=str(zone),
        locations=tuple(build_location(document) for document in documents if document is not None),
        patient_ids=tuple(patient_ids),
        placeholder_ids=tuple(placeholder_ids),
    )
