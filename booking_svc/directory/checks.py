"""What a record must satisfy before it is written, beyond the shape that the contract checks.

Each check returns every violation, by the contract's field names and with what to change; `checked` refuses them
together. References are checked where they can be looked up, not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import available_timezones

from booking_svc.directory.entities import Entity, Kind, Record
from chassis.search_terms import normal_email, normal_phone, prefixes_of
from scheduling import localtime, recurrence
from scheduling.errors import FieldViolation, Invalid
from scheduling.ids import canonical_id
from scheduling.rules.registry import parse_payload

WINDOW_DAYS_MAX: Final = 7
_DAY_MIN: Final = 1440
_NO_ZONES: Final = frozenset({"posixrules", "Factory", "localtime"})
"""What a zone database lists beside zones; the table `time_zone` leaves them out too."""
ZONE_WANTED: Final = "must be an IANA time zone such as Europe/Berlin"
BIRTH_YEAR_MIN: Final = 1850
_MAIL_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")
_CONTACT_METHODS: Final = ("", "phone", "email", "sms")

Violations = Iterable[FieldViolation]


def checked(entity: Entity, record: Record) -> Record:
    """The record with its defaults filled in. Raises Invalid with every violation."""
    filled = with_defaults(entity, record)
    violations = [
        FieldViolation(name, "is required") for name in entity.needed if _is_blank(filled.get(name))
    ]
    violations = violations or list(CHECKS.get(entity.kind, _nothing)(filled))
    if violations:
        raise Invalid(f"The {entity.kind.replace('_', ' ')} is malformed.", violations=violations)
    return filled


def _is_blank(value: object) -> bool:
    return not (value.strip() if isinstance(value, str) else value)


def with_defaults(entity: Entity, record: Record) -> Record:
    """Numbers left at zero become what zero stands for, numbers that nothing is said of what that stands for."""
    filled = {**record, **{name: value for name, value in entity.zero_means.items() if not record.get(name)}}
    filled |= {name: value for name, value in entity.unset_means.items() if record.get(name) is None}
    if entity.kind is Kind.SERVICE_RULE and isinstance(filled.get("rule_payload"), dict):
        filled["rule_payload"] = with_plain_ids(filled["rule_payload"])
    if entity.kind is Kind.SERVICE:
        for name in ("min_duration_min", "max_duration_min"):
            filled[name] = filled.get(name) or filled.get("default_duration_min")
    return filled


def _nothing(_record: Record) -> Violations:
    return ()


def _location(record: Record) -> Violations:
    yield from _zone("timezone", record.get("timezone") or "UTC")
    seen: dict[int, list[tuple[int, int]]] = {}
    for index, hours in enumerate(record.get("hours", ())):
        opens, closes = opening_minutes(hours)
        day = seen.setdefault(hours["weekday"], [])
        if any(opens < other_end and other_start < closes for other_start, other_end in day):
            yield FieldViolation(f"hours[{index}]", "overlaps other hours of the same weekday")
        day.append((opens, closes))


def _clinic(record: Record) -> Violations:
    yield from _zone("default_timezone", record["default_timezone"])


def _zone(name: str, zone: str) -> Violations:
    if zone not in _zones():
        yield FieldViolation(name, ZONE_WANTED)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    """The zones there are, looked up once: they lie in some two thousand files."""
    return frozenset(available_timezones()) - _NO_ZONES


def _closure(record: Record) -> Violations:
    return _local_span(record)


def _window(record: Record) -> Violations:
    found = list(_local_span(record))
    yield from found
    if (
        not found
        and _at(record["end"]) - _at(record["start"]) > timedelta(days=WINDOW_DAYS_MAX)
        and record.get("recurrence_rule")
    ):
        yield FieldViolation("end", f"a recurring window lasts at most {WINDOW_DAYS_MAX} days")
    if not found and record.get("recurrence_rule"):
        try:
            _recurrence_checked(record["recurrence_rule"], _at(record["start"]))
        except Invalid as refused:
            yield from refused.violations or (FieldViolation("recurrence_rule", refused.message),)


@lru_cache(maxsize=1_024)
def _recurrence_checked(rule: str, start: datetime) -> None:
    """Raise Invalid for a rule that cannot be; remembered, because shifts are much alike."""
    recurrence.validate(rule, start)


def _local_span(record: Record) -> Violations:
    for name in ("start", "end"):
        try:
            if localtime.is_far(_at(record[name])):
                yield FieldViolation(name, localtime.YEARS_BOUNDED)
                return
        except ValueError:
            yield FieldViolation(name, "must be a date and time of the calendar such as 2026-02-20T09:00")
            return
    if _at(record["end"]) <= _at(record["start"]):
        yield FieldViolation("end", "must be later than start")


def _service(record: Record) -> Violations:
    default = record["default_duration_min"]
    if record["min_duration_min"] > default:
        yield FieldViolation("min_duration_min", "must not be longer than default_duration_min")
    if record["max_duration_min"] < default:
        yield FieldViolation("max_duration_min", "must not be shorter than default_duration_min")


def with_plain_ids(payload: Mapping[str, Any]) -> Record:
    """The payload with its providers' ids spelled as everywhere else, each once; what is no id stays to be refused."""
    try:
        ids = sorted({canonical_id(str(word)) for word in payload["provider_ids"]})
    except (KeyError, TypeError, Invalid):
        return dict(payload)
    return {**payload, "provider_ids": ids}


def _rule(record: Record) -> Violations:
    try:
        parse_payload(record["rule_type"], record.get("rule_payload") or {})
    except Invalid as refused:
        return refused.violations or (FieldViolation("rule_type", refused.message),)
    return ()


def _preference(record: Record) -> Violations:
    for index, span in enumerate(record.get("preferred_time_windows", ())):
        if minute_of_day(span["end"]) <= minute_of_day(span["start"]):
            yield FieldViolation(f"preferred_time_windows[{index}]", "must end after it starts")


def _patient(record: Record) -> Violations:
    if not prefixes_of(record["name"]):
        yield FieldViolation("name", "must have a letter or a digit to be found by")
    yield from _contact(record.get("contact") or {})
    if record.get("dob"):
        try:
            if date.fromisoformat(record["dob"]).year < BIRTH_YEAR_MIN:
                yield FieldViolation("dob", f"must be of the year {BIRTH_YEAR_MIN} or later")
        except ValueError:
            yield FieldViolation("dob", "must be a date of the calendar such as 1980-04-30")
    elif not record.get("placeholder"):
        yield FieldViolation("dob", "is required unless the patient is a placeholder")


def _contact(contact: Mapping[str, Any]) -> Violations:
    if contact.get("phone") and not normal_phone(contact["phone"]).strip("+"):
        yield FieldViolation("contact.phone", "must have a digit")
    if contact.get("email") and not _MAIL_ADDRESS.fullmatch(normal_email(contact["email"])):
        yield FieldViolation("contact.email", "must be an address such as jane@example.org")
    if contact.get("preferred_method", "") not in _CONTACT_METHODS:
        yield FieldViolation("contact.preferred_method", "must be phone, email or sms")


CHECKS: Final[Mapping[Kind, Callable[[Record], Violations]]] = {
    Kind.CLINIC: _clinic,
    Kind.LOCATION: _location,
    Kind.CLOSURE: _closure,
    Kind.WINDOW: _window,
    Kind.SERVICE: _service,
    Kind.SERVICE_RULE: _rule,
    Kind.PREFERENCE: _preference,
    Kind.PATIENT: _patient,
}


def opening_minutes(hours: Mapping[str, Any]) -> tuple[int, int]:
    """Opening and closing in minutes from local midnight; a close at or before the opening is on the next day."""
    opens, closes = minute_of_day(hours["start"]), minute_of_day(hours["end"])
    return opens, closes if closes > opens else closes + _DAY_MIN


def minute_of_day(text: str) -> int:
    """Minutes since midnight of `HH:MM`; `24:00` is 1440."""
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
