"""What an explanation says, in one sentence for a person; never anything about a patient."""

from typing import Final

from scheduling.errors import Reason

_PASSED: Final = {
    "lead_time": "The start is neither in the past nor too far ahead.",
    "grid": "The start is on the service's grid.",
    "patient": "The patient is free.",
    "hours": "The provider works for the whole visit.",
    "time_off": "The provider has no time off then.",
    "location_hours": "The location is open.",
    "closure": "The location is not closed that day.",
    "busy": "The provider is free.",
    "buffer": "There is room for the buffers.",
    "room": "A suitable room is free.",
    "equipment": "Enough units are free.",
}
_FAILED: Final = {
    "lead_time": "The start is in the past, or further ahead than anything may be booked.",
    "grid": "The start is not on the service's grid.",
    "patient": "The patient has another visit in that time.",
    "hours": "The provider does not work for the whole visit.",
    "time_off": "The provider is off for part of the visit.",
    "location_hours": "The location is not open for the whole visit.",
    "closure": "The location or the clinic is closed for part of the visit.",
    "busy": "The provider is taken in part of that time.",
    "buffer": "The visit would fit, but a buffer before or after it would not.",
    "room": "Every suitable room is taken for part of the visit, buffers and turnaround included.",
    "equipment": "Too few units of equipment are free.",
}
_RULE_FAILED: Final = {
    "allowed_provider": "This provider does not offer the service.",
    "required_equipment_type": "Fewer units are free for the whole visit.",
    "room_type": "The location has no such room.",
    "min_gap": "Another visit of the provider is closer than that.",
    "max_daily": "The day is full.",
    "blackout_dates": "This day is one of them.",
    "patient_limit": "The patient's visits leave no room for this one.",
}
_BY_REASON: Final = {
    ("room", Reason.ROOM_TYPE): "The location has no suitable room.",
    ("room", Reason.OUTSIDE_HOURS): "No suitable room is open then.",
    ("lead_time", Reason.TOO_FAR_AHEAD): "This start is too far ahead.",
    ("lead_time", Reason.LEAD_TIME): "This start is in the past, or too soon.",
}


def sentence_of(check: str, *, is_passed: bool, rule_says: str = "", reason: Reason | None = None) -> str:
    """Return the sentence of a check: what its rule says, if it has one, then what that means here."""
    if is_passed:
        return _PASSED[check]
    told = _BY_REASON.get((check, reason)) if reason is not None else None
    consequence = told or _RULE_FAILED.get(check) or _FAILED[check]
    return f"{rule_says} {consequence}".strip()
