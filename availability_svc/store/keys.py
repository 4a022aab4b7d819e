"""Names in Redis. Each has its clinic as hash tag, so that a script's keys lie on one node of a cluster.

The first part is raised when a layout changes: old and new processes then never read each other's values. They share
the durable consumers all the same, so that each event is projected by one of them, in its layout alone: where the
layout changes, old processes must have ended before new ones start.
"""

from typing import Final

LAYOUT: Final = "mf2"


def floor_key(clinic_id: str, calendar_id: str) -> str:
    """What a calendar has seen: its floor, which outlives its buckets."""
    return f"{LAYOUT}:{{{clinic_id}}}:f:{calendar_id}"


def bucket_key(clinic_id: str, calendar_id: str, bucket: int) -> str:
    """One bucket of a calendar."""
    return f"{LAYOUT}:{{{clinic_id}}}:b:{calendar_id}:{bucket}"


def bucket_pattern(clinic_id: str) -> str:
    """What the names of a clinic's buckets match, and no others."""
    return f"{LAYOUT}:[{{]{clinic_id}[}}]:b:*"


def floor_pattern(clinic_id: str = "") -> str:
    """What the names of a clinic's floors match, or those of all clinics, and no others."""
    return f"{LAYOUT}:[{{]{clinic_id or '*'}[}}]:f:*"


def directory_pattern() -> str:
    """What the names of all directories' generations match, and no others."""
    return f"{LAYOUT}:[{{]*[}}]:d"


def pulse_key(clinic_id: str) -> str:
    """What every event of one of the clinic's calendars replaces, one that is known already too."""
    return f"{LAYOUT}:{{{clinic_id}}}:p"


def pulse_pattern() -> str:
    """What the names of all clinics' pulses match, and no others."""
    return f"{LAYOUT}:[{{]*[}}]:p"


STREAMS_KEY: Final = f"{LAYOUT}:streams"
"""Which streams the projections are made from."""


def bucket_of(name: str) -> tuple[str, int]:
    """Return the calendar and the number that a bucket's name says."""
    _, calendar_id, number = name.rsplit(":", 2)
    return calendar_id, int(number)


def directory_key(clinic_id: str) -> str:
    """The generation of everything that a clinic sets up."""
    return f"{LAYOUT}:{{{clinic_id}}}:d"


def document_key(clinic_id: str, name: str) -> str:
    """One part of what a clinic sets up: a location's document, or the outline."""
    return f"{LAYOUT}:{{{clinic_id}}}:l:{name}"
