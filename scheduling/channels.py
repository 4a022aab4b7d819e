"""Realtime channels: what they are called, who may join them, and who sees an event whole."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from scheduling.errors import Forbidden, Invalid, NotFound

CHANNELS_MAX: Final = 100
"""Channels that one reader may have joined."""

_FORM: Final = re.compile(
    r"(clinic|provider|patient|location):"
    r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?::(\d{4}-\d{2}-\d{2}))?",
    re.ASCII,
)
_STAFF: Final = frozenset({"admin", "front_desk", "provider", "service"})


class ChannelKind(StrEnum):
    """What a channel is about."""

    CLINIC = "clinic"
    PROVIDER = "provider"
    LOCATION = "location"
    PATIENT = "patient"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel; `day` is a local day, `YYYY-MM-DD`, and set on `location` channels only."""

    kind: ChannelKind
    id: str
    day: str = ""

    def __str__(self) -> str:
        """Write its name, `location:<id>:2026-02-20`."""
        return f"{self.kind}:{self.id}:{self.day}" if self.day else f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who reads: the token's role and ids, and whether it may know what is a patient's."""

    role: str
    clinic_id: str
    reads_phi: bool = False
    provider_id: str | None = None
    patient_id: str | None = None


def clinic_channel(clinic_id: str) -> str:
    """Return the name of a clinic's channel."""
    return f"clinic:{clinic_id}"


def provider_channel(provider_id: str) -> str:
    """Return the name of a provider's channel."""
    return f"provider:{provider_id}"


def location_channel(location_id: str, day: date) -> str:
    """Return the name of a location's channel for a local day."""
    return f"location:{location_id}:{day.isoformat()}"


def patient_channel(patient_id: str) -> str:
    """Return the name of a patient's own channel."""
    return f"patient:{patient_id}"


def parse_channel(name: str) -> Channel:
    """Read a channel's name; ids may be in either case. Refuses anything else."""
    match = _FORM.fullmatch(name.lower())
    if match is None:
        raise _malformed()
    kind, id_, day = ChannelKind(match[1]), match[2], match[3] or ""
    if bool(day) != (kind is ChannelKind.LOCATION) or (day and not _is_day(day)):
        raise _malformed()
    return Channel(kind, id_, day)


def check_join(viewer: Viewer, channel: Channel) -> None:
    """Raise Forbidden or NotFound unless `viewer` may join `channel`.

    Providers and locations are not looked up: a channel holds only events of the viewer's own clinic, so
    that an unknown id and another clinic's are alike silent.
    """
    if channel.kind is ChannelKind.PATIENT:
        if viewer.role != "patient":
            raise Forbidden("A patient's channel is for the patient's own token.")
        if channel.id != (viewer.patient_id or "").lower():
            raise NotFound("There is no such channel.")
        return
    if viewer.role not in _STAFF:
        raise Forbidden(f"Role {viewer.role} may not join {channel.kind} channels.")
    if channel.kind is ChannelKind.CLINIC and channel.id != viewer.clinic_id:
        raise NotFound("There is no such channel.")


def sees_whole(viewer: Viewer, provider_ids: Collection[str]) -> bool:
    """Tell whether `viewer` may see all of an event about these calendars, not only free or busy.

    An event about no calendar names a patient: a provider sees its own patients only, and is not told which it is.
    """
    if not provider_ids:
        return viewer.reads_phi and viewer.role != "provider"
    return viewer.role != "provider" or viewer.provider_id in provider_ids


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _malformed() -> Invalid:
    return Invalid.field(
        "channels",
        "holds a name that is not clinic:<id>, provider:<id>, location:<id>:<YYYY-MM-DD> or patient:<id>",
    )
