"""Facts for the engine, read on a connection whose transaction already knows its clinic.

Booking reads what one proposal needs, in its pipeline and under its locks; availability reads whole stretches
to fill its caches. Both get `scheduling.facts` from the same SQL and the same builders.

In a pipeline, send the statements first and fetch later: each `*_SQL` with its `*_parameters` and `build_*`
can be used by itself.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from database.busy_facts import (
    CLAIMS_SQL,
    PATIENT_ALONE_SQL,
    PATIENT_SQL,
    VERSIONED_CLAIMS_SQL,
    Stretch,
    VersionedClaims,
    build_claims,
    build_patient,
    build_stretches,
    claims_parameters,
    patient_parameters,
    stretches_parameters,
)
from database.location_facts import (
    LOCATION_SQL,
    VERSIONED_LOCATION_SQL,
    Label,
    LocationFacts,
    build_location,
    location_parameters,
)
from scheduling.facts import PatientFacts


def read_location_document(connection: Connection[Any], clinic_id: str, location_id: str) -> str | None:
    """Return the location's document as it is cached, or None when the clinic has no such location."""
    row = connection.execute(LOCATION_SQL, location_parameters(clinic_id, location_id)).fetchone()
    return None if row is None else _first(row)


def read_stretches(
    connection: Connection[Any], clinic_id: str, stretches: Sequence[Stretch]
) -> dict[Stretch, VersionedClaims]:
    """Return the claims of each stretch with its calendar's version, in one snapshot."""
    if not stretches:
        return {}
    rows = connection.execute(VERSIONED_CLAIMS_SQL, stretches_parameters(clinic_id, stretches)).fetchall()
    return build_stretches(stretches, rows)


def read_patient(
    connection: Connection[Any], clinic_id: str, patient_id: str, since_min: int
) -> PatientFacts | None:
    """Return the patient with the visits that start after `since_min`, or None when nobody has that id."""
    parameters = patient_parameters(clinic_id, patient_id, since_min)
    return build_patient(patient_id, connection.execute(PATIENT_SQL, parameters).fetchall())


def _first(row: Sequence[Any]) -> str:
    return str(row[0])


__all__ = [
    "CLAIMS_SQL",
    "LOCATION_SQL",
    "PATIENT_ALONE_SQL",
    "PATIENT_SQL",
    "VERSIONED_CLAIMS_SQL",
    "VERSIONED_LOCATION_SQL",
    "Label",
    "LocationFacts",
    "Stretch",
    "VersionedClaims",
    "build_claims",
    "build_location",
    "build_patient",
    "build_stretches",
    "claims_parameters",
    "location_parameters",
    "patient_parameters",
    "read_location_document",
    "read_patient",
    "read_stretches",
    "stretches_parameters",
]
