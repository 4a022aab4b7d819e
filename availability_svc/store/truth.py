"""PostgreSQL as the service reads it: always as the application's role, inside one clinic.

Each read is one round trip: BEGIN, the tenant, the query and COMMIT travel together. A server that is silent is asked
seldom, so that its callers do not keep the threads that memory and Redis could answer from.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.rows import TupleRow

from availability_svc.store.database_pool import DatabasePool
from availability_svc.store.documents import Document
from chassis.metrics import Metrics
from database.facts import (
    PATIENT_ALONE_SQL,
    PATIENT_SQL,
    VERSIONED_CLAIMS_SQL,
    VERSIONED_LOCATION_SQL,
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
SELECT l.id FROM location l WHERE l.clinic_id = %(clinic_id)s::uuid ORDER BY l.id
"""
_OUTLINE_SQL: Final = """
SELECT json_build_object(
    'locations', (SELECT coalesce(json_agg(l.id ORDER BY l.id), '[]'::json) FROM location l
        WHERE l.clinic_id = c.id AND l.active),
    'resources', (SELECT coalesce(json_agg(json_build_array(id, kind, location_id) ORDER BY id), '[]'::json) FROM (
        SELECT id, 'provider' AS kind, location_id FROM provider p WHERE p.clinic_id = c.id
        UNION ALL SELECT id, 'room', location_id FROM room r WHERE r.clinic_id = c.id
        UNION ALL SELECT id, 'equipment', location_id FROM equipment e WHERE e.clinic_id = c.id
    ) AS things)
)::text, (SELECT d.version FROM directory_version d WHERE d.clinic_id = c.id)
FROM clinic c WHERE c.id = %(clinic_id)s::uuid
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

    def location(self, clinic_id: str, location_id: str) -> Document | None:
        """Return a location's document, or None when the clinic has no such location."""
        parameters = location_parameters(clinic_id, location_id)
        return _document(self._rows(clinic_id, VERSIONED_LOCATION_SQL, parameters))

    def outline(self, clinic_id: str) -> Document | None:
        """Return what locations and resources a clinic has, or None when there is no such clinic."""
        return _document(self._rows(clinic_id, _OUTLINE_SQL, {"clinic_id": clinic_id}))

    def stretches(
        self, clinic_id: str, stretches: Sequence[Stretch], *, from_replica: bool = False
    ) -> dict[Stretch, VersionedClaims]:
        """Return the claims of each stretch with its calendar's version, in one snapshot."""
        pool = self._replica if from_replica else self._primary
        parameters = stretches_parameters(clinic_id, stretches)
        return build_stretches(stretches, self._rows(clinic_id, VERSIONED_CLAIMS_SQL, parameters, pool))

    def patient(self, clinic_id: str, patient_id: str, since_min: int | None) -> PatientFacts | None:
        """Return a patient with the visits that start after `since_min` (without, for None); None for nobody."""
        query = PATIENT_ALONE_SQL if since_min is None else PATIENT_SQL
        parameters = patient_parameters(clinic_id, patient_id, since_min or 0)
        return build_patient(patient_id, self._rows(clinic_id, query, parameters))

    def location_ids(self, clinic_id: str) -> list[str]:
        """Return the ids of all the clinic's locations, in use or not."""
        return [row[0] for row in self._rows(clinic_id, _LOCATIONS_SQL, {"clinic_id": clinic_id})]

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


def _document(rows: Sequence[TupleRow]) -> Document | None:
    if not rows:
        return None
    text, version = rows[0]
    return Document(str(text).encode(), version or 0)
