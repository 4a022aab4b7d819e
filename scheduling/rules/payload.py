"""Reads a rule's payload strictly: fields known, values in bounds, everything wrong named at once."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Final, TypeVar
from uuid import UUID

from scheduling import localtime
from scheduling.errors import FieldViolation, Invalid
from scheduling.facts import Rule

IDS_MAX: Final = 500
DATES_MAX: Final = 1_000
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


Payload = TypeVar("Payload")


def payload_of(rule: Rule, expected: type[Payload]) -> Payload:
    """Return the rule's payload, which its own type's `parse` must have made."""
    if not isinstance(rule.payload, expected):
        raise TypeError(f"rule {rule.id} ({rule.rule_type}) carries an unparsed payload")
    return rule.payload


class PayloadReader:
    """Takes fields out of one payload and remembers what is wrong with them; `finish` refuses if anything is.

    A field that is null is no absent one: it is refused, so that what a rule says is never guessed. Numbers may
    come as whole floats: a protobuf Struct knows no integers.
    """

    def __init__(self, rule_type: str, payload: Mapping[str, object]) -> None:
        self._rule_type = rule_type
        self._payload = dict(payload)
        self._violations: list[FieldViolation] = []

    def number(self, name: str, low: int, high: int) -> int | None:
        """Take a whole number within bounds; None when it is absent."""
        if name not in self._payload:
            return None
        value = self._payload.pop(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            self._wrong(name, "must be a whole number")
            return None
        if not low <= value <= high:
            self._wrong(name, f"must be from {low} to {high}")
            return None
        return int(value)

    def required_number(self, name: str, low: int, high: int) -> int:
        """Take a whole number that must be there."""
        if name not in self._payload:
            self._wrong(name, "is required")
        return self.number(name, low, high) or 0

    def flag(self, name: str) -> bool:
        """Take a boolean; absent means false."""
        value = self._payload.pop(name, False)
        if not isinstance(value, bool):
            self._wrong(name, "must be true or false")
        return value is True

    def word(self, name: str) -> str:
        """Take a text of 1 to 100 characters that must be there."""
        value = self._payload.pop(name, None)
        if not isinstance(value, str) or not 1 <= len(value.strip()) <= 100:
            self._wrong(name, "must be a text of 1 to 100 characters")
            return ""
        return value.strip()

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """Take one of a few words; absent means the default."""
        value = self._payload.pop(name, default)
        if value not in allowed:
            self._wrong(name, f"must be one of {', '.join(allowed)}")
        return str(value)

    def ids(self, name: str) -> tuple[str, ...]:
        """Take a list of at least one UUID."""
        values = self._list(name)
        if not values or len(values) > IDS_MAX:
            self._wrong(name, f"must name 1 to {IDS_MAX} ids")
            return ()
        return tuple(sorted({self._id(f"{name}[{index}]", value) for index, value in enumerate(values)}))

    def dates(self, name: str) -> tuple[date, ...]:
        """Take a list of local dates; absent means none."""
        values = self._list(name)
        if len(values) > DATES_MAX:
            self._wrong(name, f"must name at most {DATES_MAX} dates")
            return ()
        return tuple(self._date(f"{name}[{index}]", value) for index, value in enumerate(values))

    def ranges(self, name: str) -> tuple[tuple[date, date], ...]:
        """Take a list of `{"from": date, "to": date}`, both days included; absent means none."""
        values = self._list(name)
        if len(values) > DATES_MAX:
            self._wrong(name, f"must name at most {DATES_MAX} ranges")
            return ()
        return tuple(self._range(f"{name}[{index}]", value) for index, value in enumerate(values))

    @property
    def is_good(self) -> bool:
        """Tell whether nothing was wrong so far."""
        return not self._violations

    def refuse(self, name: str, what: str) -> None:
        """Remember that a field, or two together, make no sense."""
        self._wrong(name, what)

    def finish(self) -> None:
        """Raise Invalid with every violation, unknown fields among them."""
        for name in self._payload:
            self._wrong(str(name)[:50], f"is not a field of a {self._rule_type} rule")
        if self._violations:
            raise Invalid(
                f"The payload of a {self._rule_type} rule is malformed.", violations=self._violations
            )

    def _list(self, name: str) -> list[object]:
        value = self._payload.pop(name, [])
        if not isinstance(value, list | tuple):
            self._wrong(name, "must be a list")
            return []
        return list(value)

    def _id(self, name: str, value: object) -> str:
        try:
            return str(UUID(str(value)))
        except ValueError:
            self._wrong(name, "must be a UUID")
            return ""

    def _date(self, name: str, value: object) -> date:
        try:
            day = date.fromisoformat(value) if isinstance(value, str) and _DATE.fullmatch(value) else None
        except ValueError:
            day = None
        if day is not None and not localtime.is_far(day):
            return day
        self._wrong(name, "must be a date such as 2026-02-20" if day is None else localtime.YEARS_BOUNDED)
        return date.min

    def _range(self, name: str, value: object) -> tuple[date, date]:
        if not isinstance(value, Mapping) or set(value) != {"from", "to"}:
            self._wrong(name, "must have `from` and `to`, both days included")
            return date.min, date.min
        low, high = self._date(f"{name}.from", value["from"]), self._date(f"{name}.to", value["to"])
        if high < low:
            self._wrong(name, "must not end before it begins")
        return low, high

    def _wrong(self, name: str, what: str) -> None:
        self._violations.append(FieldViolation(f"rule_payload.{name}", what))
