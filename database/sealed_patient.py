"""A patient as it is stored: each personal field sealed for its own column, and the hashes it is found by.

The one place that knows which field is sealed for which column and hashed under which kind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from chassis.encryption import ClinicCipher
from chassis.search_terms import normal_email, normal_phone, prefixes_of, searched_prefixes

_TABLE: Final = "patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientDetails:
    """What names a patient, in the clear. Empty text where nothing is known; `dob` is `YYYY-MM-DD`."""

    name: str
    dob: str = ""
    phone: str = ""
    email: str = ""
    preferred_method: str = ""
    notes: str = ""

    def __repr__(self) -> str:
        return "PatientDetails(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPatient:
    """The columns of the same names in table `patient`, and the rows of `patient_name_token`."""

    name_encrypted: bytes
    dob_encrypted: bytes | None
    contact_encrypted: bytes | None
    notes_encrypted: bytes | None
    phone_hash: bytes | None
    email_hash: bytes | None
    dob_hash: bytes | None
    name_tokens: tuple[bytes, ...]


def seal_patient(cipher: ClinicCipher, patient_id: str, details: PatientDetails) -> SealedPatient:
    """Encrypt the details for the row `patient_id` and hash what they are searched by."""

    def sealed(column: str, text: str) -> bytes | None:
        if not text:
            return None
        return cipher.seal_text(text, table=_TABLE, column=column, row_id=patient_id)

    return SealedPatient(
        name_encrypted=cipher.seal_text(
            details.name, table=_TABLE, column="name_encrypted", row_id=patient_id
        ),
        dob_encrypted=sealed("dob_encrypted", details.dob),
        contact_encrypted=sealed("contact_encrypted", _contact(details)),
        notes_encrypted=sealed("notes_encrypted", details.notes),
        phone_hash=phone_hash(cipher, details.phone),
        email_hash=email_hash(cipher, details.email),
        dob_hash=dob_hash(cipher, details.dob),
        name_tokens=tuple(_name_hash(cipher, prefix) for prefix in prefixes_of(details.name)),
    )


def open_patient(
    cipher: ClinicCipher,
    patient_id: str,
    *,
    name_encrypted: bytes,
    dob_encrypted: bytes | None,
    contact_encrypted: bytes | None,
    notes_encrypted: bytes | None,
) -> PatientDetails:
    """The details that were sealed for this row. Raises DecryptionError."""

    def opened(column: str, sealed: bytes | None) -> str:
        return cipher.open_text(sealed, table=_TABLE, column=column, row_id=patient_id) if sealed else ""

    contact = json.loads(opened("contact_encrypted", contact_encrypted) or "{}")
    return PatientDetails(
        name=opened("name_encrypted", name_encrypted),
        dob=opened("dob_encrypted", dob_encrypted),
        phone=contact.get("phone", ""),
        email=contact.get("email", ""),
        preferred_method=contact.get("preferred_method", ""),
        notes=opened("notes_encrypted", notes_encrypted),
    )


def phone_hash(cipher: ClinicCipher, phone: str) -> bytes | None:
    """What a phone number is found by, however it is written."""
    return _hash(cipher, "patient.phone", normal_phone(phone))


def email_hash(cipher: ClinicCipher, email: str) -> bytes | None:
    """What a mail address is found by."""
    return _hash(cipher, "patient.email", normal_email(email))


def dob_hash(cipher: ClinicCipher, dob: str) -> bytes | None:
    """What a date of birth is found by."""
    return _hash(cipher, "patient.dob", dob)


def name_search_tokens(cipher: ClinicCipher, text: str) -> list[bytes]:
    """The tokens that a patient must all have to be found by `text`, one a word."""
    return [_name_hash(cipher, prefix) for prefix in searched_prefixes(text)]


def _name_hash(cipher: ClinicCipher, prefix: str) -> bytes:
    return cipher.search_hash("patient.name", prefix)


def _hash(cipher: ClinicCipher, kind: str, value: str) -> bytes | None:
    return cipher.search_hash(kind, value) if value else None


def _contact(details: PatientDetails) -> str:
    given = {
        "phone": details.phone,
        "email": details.email,
        "preferred_method": details.preferred_method,
    }
    kept = {name: value for name, value in given.items() if value}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")) if kept else ""
