"""The consistency token: how fresh an answer must be, so that a client sees its own booking.

A mutation's reply carries the calendar versions that its transaction gave to the resources it touched, and, under the
clinic's own id, the version that a change of the directory gave to that. A search that sends the token back is
answered from facts that are at least that new. The token is opaque to clients, holds no secret, and asks for freshness
only: a forged one makes a search slower, never wrong.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from scheduling.errors import Invalid

MAX_RESOURCES: Final = 64
"""Resources that one token names; it is then at most 2,048 characters long."""

EVERYTHING: Final = str(UUID(int=0))
"""A token that names this asks for the primary."""

UNREACHABLE: Final = {EVERYTHING: 2**62}
"""What a token for too many resources says: a version no projection has, so the primary is read."""

_FORMAT: Final = 1
_ID_BYTES: Final = 16
_MAX_VERSION: Final = 2**63 - 1
_MAX_CHARS: Final = 2_048


def encode(versions: Mapping[str, int]) -> str:
    """Return the token for resource id -> calendar version; empty for no resource.

    Ids are UUID strings, versions at least 0. More than MAX_RESOURCES become UNREACHABLE.
    """
    if not versions:
        return ""
    shown = versions if len(versions) <= MAX_RESOURCES else UNREACHABLE
    parts = [bytes([_FORMAT])]
    for resource_id in sorted(shown):
        parts += (_id_bytes(resource_id), _varint(shown[resource_id]))
    return base64.urlsafe_b64encode(b"".join(parts)).rstrip(b"=").decode("ascii")


def decode(token: str) -> dict[str, int]:
    """Return resource id -> least calendar version; an empty token asks for nothing.

    Refuses anything that `encode` has not made.
    """
    if not token:
        return {}
    raw = _bytes_of(token)
    versions: dict[str, int] = {}
    at = 1
    while at < len(raw):
        resource_id = raw[at : at + _ID_BYTES]
        if len(resource_id) < _ID_BYTES or len(versions) == MAX_RESOURCES:
            raise _malformed()
        version, at = _read_varint(raw, at + _ID_BYTES)
        versions[str(UUID(bytes=resource_id))] = version
    return versions


def directory_version(versions: Mapping[str, int], clinic_id: str) -> int:
    """Return the least version of a clinic's directory that a token asks for, 0 for any."""
    return max(versions.get(clinic_id, 0), versions.get(EVERYTHING, 0))


def merge(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Return the versions that are at least as new as both."""
    merged = dict(first)
    for resource_id, version in second.items():
        merged[resource_id] = max(version, merged.get(resource_id, 0))
    return merged


def _bytes_of(token: str) -> bytes:
    if len(token) > _MAX_CHARS or not token.isascii():
        raise _malformed()
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise _malformed() from None
    if len(raw) < 1 or raw[0] != _FORMAT:
        raise _malformed()
    return raw


def _id_bytes(resource_id: str) -> bytes:
    # UUID goes by an integer and back, which costs a booking more than the rest of its token.
    found = bytes.fromhex(resource_id.replace("-", ""))
    if len(found) != _ID_BYTES:
        raise ValueError(f"{resource_id} is no UUID")
    return found


def _varint(value: int) -> bytes:
    if not 0 <= value <= _MAX_VERSION:
        raise ValueError(f"{value} is no calendar version")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where it ends."""
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(raw):
            break
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _malformed()


def _malformed() -> Invalid:
    return Invalid.field("consistency_token", "is not a token of this service")
