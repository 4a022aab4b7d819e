"""PostgreSQL as the service reads it: always as the application's role, inside one clinic.

Each read is one round trip: BEGIN, the tenant, the query and COMMIT travel together. A server that is silent is asked
seldom, so that its callers do not keep the threads that memory and Redis could answer from.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.rows import TupleRow

from availability_svc.store.database_pool import DatabasePool
from chassis.metrics import Metrics
from database.facts import (
    LOCATION_SQL,
    PATIENT_SQL,
    VERSIONED_CLAIMS_SQL,
    Stretch,
    VersionedClaims,
    build_patient,
    build_stretches,
    location_parameters,
    patient_parameters,
    stretches_parameters,
)
from database.session import SET_TENANT
from database.settings import DatabaseSettings
from scheduling.facts import PatientFacts

_BEGIN: Final = "BEGIN READ ONLY"

ANSWER_S: Final = 2.0
"""How long a caller waits for an answer. None takes longer than some tenths of a second."""

_LOCATIONS_SQL: Final = """
SELECT l.id, l.active FROM location l WHERE l.clinic_id = %(clinic_id)s::uuid ORDER BY l.id
"""
_RESOURCE_SQL: Final = """
SELECT kind, location_id FROM (
    SELECT 'provider' AS kind, location_id, id, clinic_id FROM provider
    UNION ALL SELECT 'room', location_id, id, clinic_id FROM room
    UNION ALL SELECT 'equipment', location_id, id, clinic_id FROM equipment
) AS things
WHERE clinic_id = %(clinic_id)s::uuid AND id = %(id)s::uuid
"""
_PROVIDERS_SQL: Final = """
SELECT count(*) FROM provider WHERE clinic_id = %(clinic_id)s::uuid AND id = ANY (%(ids)s::uuid[])
"""
_APPOINTMENT_SQL: Final = """
SELECT 1 FROM appointment_ref r JOIN appointment a ON a.id = r.id AND a.start_ts_utc = r.start_ts_utc
WHERE r.clinic_id = %(clinic_id)s::uuid AND r.id = %(id)s::uuid
  AND (%(patient_id)s::uuid IS NULL OR a.patient_id = %(patient_id)s::uuid)
"""
_HOLD_SQL: Final = """
SELECT id FROM appointment
WHERE clinic_id = %(clinic_id)s::uuid AND hold_token_hash = %(hash)s AND status = 'held'
  AND expires_at > %(now)s::timestamptz
"""


class Truth:
    """The pool of the service, and what it asks; a replica serves reads that may be a moment old.

    Raises Unavailable or Exhausted when the database does not answer.
    """

    name = "postgresql"

    def __init__(
        self,
        url: str,
        settings: DatabaseSettings,
        *,
        replica_url: str = "",
        answer_s: float = ANSWER_S,
        metrics: Metrics | None = None,
    ) -> None:
        def pool_of(server_url: str, dependency: str) -> DatabasePool:
            gauge = metrics.breaker_open.labels(dependency) if metrics is not None else None
            return DatabasePool(server_url, settings, answer_s=answer_s, gauge=gauge)

        self._primary = pool_of(url, "postgresql")
        self._replica = pool_of(replica_url, "postgresql replica") if replica_url else self._primary

    @property
    def has_replica(self) -> bool:
        """Tell whether some reads may be behind the primary."""
        return self._replica is not self._primary

    async def start(self) -> None:
        """Begin to connect; returns at once, whether or not the database is there yet."""
        self.open()

    async def stop(self) -> None:
        """Close every connection."""
        await asyncio.to_thread(self.close)

    def open(self) -> None:
        """Begin to connect; returns at once, whether or not the database is there yet."""
        for pool in {self._primary, self._replica}:
            pool.open()

    def close(self) -> None:
        """Close every connection."""
        for pool in {self._primary, self._replica}:
            pool.close()

    def location(self, clinic_id: str, location_id: str) -> str | None:
        """Return a location's document, or None when the clinic has no such location."""
        rows = self._rows(clinic_id, LOCATION_SQL, location_parameters(clinic_id, location_id))
        return str(rows[0][0]) if rows else None

    def stretches(
        self, clinic_id: str, stretches: Sequence[Stretch], *, from_replica: bool = False
    ) -> dict[Stretch, VersionedClaims]:
        """Return the claims of each stretch with its calendar's version, in one snapshot."""
        pool = self._replica if from_replica else self._primary
        parameters = stretches_parameters(clinic_id, stretches)
        return build_stretches(stretches, self._rows(clinic_id, VERSIONED_CLAIMS_SQL, parameters, pool))

    def patient(self, clinic_id: str, patient_id: str, since_min: int) -> PatientFacts | None:
        """Return a patient with the visits that start after `since_min`, or None when nobody has that id."""
        rows = self._rows(clinic_id, PATIENT_SQL, patient_parameters(clinic_id, patient_id, since_min))
        return build_patient(patient_id, rows)

    def location_ids(self, clinic_id: str, *, with_inactive: bool = False) -> list[str]:
        """Return the ids of the clinic's locations."""
        rows = self._rows(clinic_id, _LOCATIONS_SQL, {"clinic_id": clinic_id})
        return [row[0] for row in rows if row[1] or with_inactive]

    def resource(self, clinic_id: str, resource_id: str) -> tuple[str, str | None] | None:
        """Return the kind and own location of a provider, room or equipment item, or None."""
        rows = self._rows(clinic_id, _RESOURCE_SQL, {"clinic_id": clinic_id, "id": resource_id})
        return (rows[0][0], rows[0][1]) if rows else None

    def has_providers(self, clinic_id: str, provider_ids: Sequence[str]) -> bool:
        """Tell whether the clinic has every one of these providers."""
        wanted = list(set(provider_ids))
        rows = self._rows(clinic_id, _PROVIDERS_SQL, {"clinic_id": clinic_id, "ids": wanted})
        return int(rows[0][0]) == len(wanted)

    def has_appointment(self, clinic_id: str, appointment_id: str, patient_id: str = "") -> bool:
        """Tell whether the clinic has this appointment; with a patient, whether it is that one's."""
        parameters = {"clinic_id": clinic_id, "id": appointment_id, "patient_id": patient_id or None}
        return bool(self._rows(clinic_id, _APPOINTMENT_SQL, parameters))

    def held_appointment(self, clinic_id: str, token_hash: bytes, now: object) -> str | None:
        """Return the id of the live hold with this token's hash, or None."""
        rows = self._rows(clinic_id, _HOLD_SQL, {"clinic_id": clinic_id, "hash": token_hash, "now": now})
        return str(rows[0][0]) if rows else None

    def _rows(
        self, clinic_id: str, query: str, parameters: Mapping[str, Any], pool: DatabasePool | None = None
    ) -> list[TupleRow]:
        with (pool or self._primary).connection() as connection:
            with connection.pipeline():
                connection.execute(_BEGIN, prepare=False)
                connection.execute(SET_TENANT, (clinic_id,), prepare=True)
                cursor = connection.execute(query, parameters, prepare=True)
                connection.execute("COMMIT", prepare=False)
            return cursor.fetchall()
