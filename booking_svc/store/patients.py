"""Patients: everything that names a person is ciphertext, and search runs on keyed hashes.

Opened values live in `Entry.record` for as long as a call lasts and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

from booking_svc.directory.entities import Entry, Kind, Record
from booking_svc.store.oversight import GRANTED_PATIENTS
from booking_svc.store.session import Reply, Session
from database.pipeline import Pending, Statement, Value
from database.sealed_patient import (
    PatientDetails,
    SealedPatient,
    dob_hash,
    email_hash,
    name_search_tokens,
    open_patient,
    phone_hash,
    seal_patient,
)
from scheduling.facts import ResourceKind

_CONTACT_FIELDS: Final = ("phone", "email", "preferred_method")

_COLUMNS: Final = """
    id, name_encrypted, dob_encrypted, contact_encrypted, notes_encrypted, placeholder, active, version, created_at,
    updated_at
"""
_INSERT_RESOURCE: Final = Statement(
    "insert_patient_resource", "INSERT INTO resource (clinic_id, id, kind) VALUES ($1, $2, $3)"
)
_INSERT: Final = Statement(
    "insert_patient",
    """
    INSERT INTO patient (clinic_id, id, placeholder, name_encrypted, dob_encrypted, contact_encrypted,
        notes_encrypted, phone_hash, email_hash, dob_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    RETURNING id, active, version, created_at, updated_at
    """,
)
_UPDATE: Final = Statement(
    "update_patient",
    """
    UPDATE patient SET active = $3, placeholder = $4, name_encrypted = $5, dob_encrypted = $6, contact_encrypted = $7,
        notes_encrypted = $8, phone_hash = $9, email_hash = $10, dob_hash = $11, version = version + 1,
        updated_at = clock_timestamp()
    WHERE clinic_id = $1 AND id = $2
    RETURNING id, active, version, created_at, updated_at
    """,
)
_READ: Final = Statement(
    "read_patient_record",
    f"SELECT {_COLUMNS} FROM patient WHERE clinic_id = $1 AND id = $2",  # noqa: S608 - made of constants
)
_READ_MANY: Final = Statement(
    "read_many_patients",
    f"SELECT {_COLUMNS} FROM patient WHERE clinic_id = $1 AND id = ANY ($2::uuid[])",  # noqa: S608 - made of constants
)
_LOCK: Final = Statement(
    "lock_patient_record",
    f"SELECT {_COLUMNS} FROM patient WHERE clinic_id = $1 AND id = $2 FOR NO KEY UPDATE",  # noqa: S608 - made of constants
)
# Before a change that bookings must see, or come before: each locks the row of its patient, which this one excludes.
_LOCK_ALONE: Final = Statement(
    "lock_patient_record_alone",
    f"SELECT {_COLUMNS} FROM patient WHERE clinic_id = $1 AND id = $2 FOR UPDATE",  # noqa: S608 - made of constants
)
_DELETE_TOKENS: Final = Statement(
    "delete_name_tokens", "DELETE FROM patient_name_token WHERE clinic_id = $1 AND patient_id = $2"
)
# bytea arrays travel as hex words.
_INSERT_TOKENS: Final = Statement(
    "insert_name_tokens",
    """
    INSERT INTO patient_name_token (clinic_id, token, patient_id)
    SELECT $1, decode(hex, 'hex'), $2 FROM unnest($3::text[]) AS hex ON CONFLICT DO NOTHING
    """,
)
_SEARCHED: Final = {
    "phone": "p.phone_hash = ${place}",
    "email": "p.email_hash = ${place}",
    "dob": "p.dob_hash = ${place}",
    # Each searched prefix must be found.
    "name_prefix": """p.id IN (
          SELECT t.patient_id FROM patient_name_token t
          WHERE t.clinic_id = $1 AND t.token = ANY (${place}::bytea[])
          GROUP BY t.patient_id HAVING count(*) = cardinality(${place}::bytea[]))""",
}
_FIRST_ID: Final = str(UUID(int=0))


@cache
def search_patients(terms: tuple[str, ...]) -> Statement:
    """A page of the patients after $3 that match `terms`, whose hashes are the values from $5 on.

    A statement for each set of terms, so that each has a plan that begins with the index of what is searched.
    """
    matches = "".join(f" AND {_SEARCHED[term].format(place=place)}" for place, term in enumerate(terms, 5))
    return Statement(
        "_".join(("search_patients", *terms)),
        f"""
    SELECT {_COLUMNS} FROM patient p
    WHERE p.clinic_id = $1 AND (p.active OR $2::boolean) AND p.id > $3{matches}
    ORDER BY p.id LIMIT $4
    """,  # noqa: S608 - made of constants
    )


# OFFSET 0 keeps the planner from turning the patients round into one read of all that the provider ever had.
SEEN_BY_PROVIDER: Final = Statement(
    "patients_seen_by_provider",
    """
    SELECT p.id FROM unnest($2::uuid[]) AS p (id) WHERE EXISTS (
        SELECT FROM appointment a WHERE a.clinic_id = $1 AND a.patient_id = p.id AND a.provider_id = $3 OFFSET 0)
    """,
)


class PatientStore:
    """One clinic's patients, through one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cipher = session.cipher
        self.clinic_id = session.clinic_id

    async def insert(self, patient_id: str, record: Record) -> Entry:
        """Write a new patient with its resource row and search hashes."""
        written = self.queue_insert(patient_id, record)
        await self._session.run()
        return written.get()

    def queue_insert(self, patient_id: str, record: Record) -> Reply[Entry]:
        """Queue the same."""
        self._session.queue(_INSERT_RESOURCE, self.clinic_id, patient_id, ResourceKind.PATIENT.value)
        sealed = seal_patient(self._cipher, patient_id, details_of(record))
        pending = self._session.queue(
            _INSERT, self.clinic_id, patient_id, bool(record.get("placeholder")), *_columns(sealed)
        )
        self._insert_tokens(patient_id, sealed)
        return Reply(pending, lambda done: self._written(record, done))

    async def update(self, entry: Entry, record: Record, *, active: bool) -> Entry:
        """Write a changed patient and raise its version."""
        sealed = seal_patient(self._cipher, entry.id, details_of(record))
        placeholder = bool(record.get("placeholder"))
        pending = self._session.queue(
            _UPDATE, self.clinic_id, entry.id, active, placeholder, *_columns(sealed)
        )
        if record["name"] != entry.record["name"]:
            self._session.queue(_DELETE_TOKENS, self.clinic_id, entry.id)
            self._insert_tokens(entry.id, sealed)
        await self._session.run()
        return self._written(record, pending)

    async def find(self, patient_id: str) -> Entry | None:
        """The patient; None when the clinic has no such one."""
        return await self._one(_READ, patient_id)

    async def lock(self, patient_id: str, *, excludes_bookings: bool) -> Entry | None:
        """The same, locked; no booking of the patient is under way any more where those are excluded."""
        return await self._one(_LOCK_ALONE if excludes_bookings else _LOCK, patient_id)

    async def _one(self, statement: Statement, patient_id: str) -> Entry | None:
        pending = self._session.queue(statement, self.clinic_id, patient_id)
        await self._session.run()
        row = pending.row()
        return None if row is None else self._entry(row)

    async def find_many(self, patient_ids: Sequence[str]) -> dict[str, Entry]:
        """Those of the patients that the clinic has, by id."""
        pending = self._session.queue(_READ_MANY, self.clinic_id, list(patient_ids))
        await self._session.run()
        return {entry.id: entry for entry in map(self._entry, pending.rows())}

    async def search(
        self, terms: Mapping[str, str], *, with_inactive: bool, after_id: str | None, limit: int
    ) -> list[Entry]:
        """Patients that match every term given (`name_prefix`, `phone`, `email`, `dob`), in the order of their ids."""
        hashes = self._hashes(terms)
        pending = self._session.queue(
            search_patients(tuple(hashes)),
            self.clinic_id,
            with_inactive,
            after_id or _FIRST_ID,
            limit,
            *hashes.values(),
        )
        await self._session.run()
        return [self._entry(row) for row in pending.rows()]

    def _hashes(self, terms: Mapping[str, str]) -> dict[str, Value]:
        """What the terms are found by, in the one order of `_SEARCHED`; without those that ask nothing."""
        hashes: dict[str, Value] = {
            "phone": phone_hash(self._cipher, terms.get("phone", "")),
            "email": email_hash(self._cipher, terms.get("email", "")),
            "dob": dob_hash(self._cipher, terms.get("dob", "")),
            "name_prefix": [
                f"\\x{token.hex()}"
                for token in name_search_tokens(self._cipher, terms.get("name_prefix", ""))
            ],
        }
        return {term: value for term, value in hashes.items() if value}

    async def seen_by(self, provider_id: str, patient_ids: Sequence[str]) -> frozenset[str]:
        """Those of the patients that have or had a visit with the provider."""
        pending = self._session.queue(SEEN_BY_PROVIDER, self.clinic_id, list(patient_ids), provider_id)
        await self._session.run()
        return frozenset(patient_id for (patient_id,) in pending.rows())

    async def granted_to(self, actor: str, patient_ids: Sequence[str]) -> frozenset[str | None]:
        """Those of the patients that emergency access, which still lasts, opens to the caller; None: it opens all."""
        pending = self._session.queue(GRANTED_PATIENTS, self.clinic_id, actor, list(patient_ids))
        await self._session.run()
        return frozenset(patient_id for (patient_id,) in pending.rows())

    def _insert_tokens(self, patient_id: str, sealed: SealedPatient) -> None:
        if sealed.name_tokens:
            tokens = [token.hex() for token in sealed.name_tokens]
            self._session.queue(_INSERT_TOKENS, self.clinic_id, patient_id, tokens)

    def _entry(self, row: Sequence[Any]) -> Entry:
        patient_id, name, dob, contact, notes, placeholder, *system = row
        details = open_patient(
            self._cipher,
            patient_id,
            name_encrypted=name,
            dob_encrypted=dob,
            contact_encrypted=contact,
            notes_encrypted=notes,
        )
        return self._assembled(_record_of(details, is_placeholder=placeholder), (patient_id, *system))

    def _written(self, record: Record, pending: Pending) -> Entry:
        return self._assembled(record, pending.rows()[0])

    def _assembled(self, record: Record, system: Sequence[Any]) -> Entry:
        patient_id, active, version, created_at, updated_at = system
        return Entry(
            kind=Kind.PATIENT,
            clinic_id=self.clinic_id,
            id=patient_id,
            record=record,
            active=active,
            version=version,
            created_at=created_at,
            updated_at=updated_at,
        )


def details_of(record: Record) -> PatientDetails:
    """What of a record names the patient."""
    contact: Mapping[str, str] = record.get("contact") or {}
    return PatientDetails(
        name=record["name"],
        dob=record.get("dob") or "",
        notes=record.get("notes") or "",
        **{name: contact.get(name, "") for name in _CONTACT_FIELDS},
    )


def _record_of(details: PatientDetails, *, is_placeholder: bool) -> Record:
    contact = {name: value for name in _CONTACT_FIELDS if (value := getattr(details, name))}
    return {
        "name": details.name,
        "dob": details.dob,
        "contact": contact,
        "notes": details.notes,
        "placeholder": is_placeholder,
    }


def _columns(sealed: SealedPatient) -> tuple[Value, ...]:
    """The personal columns in the order of the statements."""
    return (
        sealed.name_encrypted,
        sealed.dob_encrypted,
        sealed.contact_encrypted,
        sealed.notes_encrypted,
        sealed.phone_hash,
        sealed.email_hash,
        sealed.dob_hash,
    )
