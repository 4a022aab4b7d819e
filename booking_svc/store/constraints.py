"""What a violated constraint means: the constraint's name leads to the field and the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import errors

from booking_svc.directory.checks import WINDOW_DAYS_MAX, ZONE_WANTED
from scheduling.errors import Conflict, FieldViolation, Invalid, NotFound, Reason
from scheduling.localtime import YEARS_BOUNDED

_TAKEN: Final = {
    "unique_location_name_per_clinic": "A location of this name exists.",
    "unique_room_name_per_location": "A room of this name exists at this location.",
}

_HELD: Final = {
    "name_given": ("name", "must have 1 to 255 characters (a room's: 100) that are not all blank"),
    "type_given": ("type", "must have 1 to 100 characters that are not all blank"),
    "type_short": ("room_type", "must have at most 50 characters"),
    "specialty_short": ("specialty", "must have at most 100 characters"),
    "reason_short": ("reason", "must have at most 500 characters"),
    "rule_short": ("recurrence_rule", "must have at most 4000 characters"),
    "years_bounded": ("start", YEARS_BOUNDED),
    "week_at_most": ("end", f"must be at most {WINDOW_DAYS_MAX} days after start where the window recurs"),
    "capacity_positive": ("capacity", "must be at least 1"),
    "concurrent_visits_bounded": ("concurrent_visits", "must be from 1 to 1000"),
    "quantity_bounded": ("quantity", "must be from 1 to 1000"),
    "turnaround_bounded": ("turnaround_min", "must be from 0 to 1440"),
    "duration_positive": ("max_duration_min", "must be at most 1440, and min_duration_min at least 1"),
    "buffers_bounded": ("buffer_before_min", "and buffer_after_min must be from 0 to 1440"),
    "slot_step_bounded": ("slot_step_min", "must be from 5 to 240"),
    "weight_bounded": ("weight", "must be from 0 to 100"),
}
"""CHECKs that callers can break, without their table's name: the field, and what to change."""


@contextmanager
def constraints_named() -> Iterator[None]:
    """Turn violations into refusals.

    A key that points nowhere, or to another clinic, raises NotFound; a taken name or id raises Conflict; a CHECK
    raises Invalid with the field and what to change, as far as callers can break it.
    """
    try:
        yield
    except errors.ForeignKeyViolation as error:
        if _thing(error).endswith("timezone"):
            raise Invalid.field(_thing(error).replace(" ", "_"), ZONE_WANTED) from error
        raise NotFound(f"No such {_thing(error)}.") from error
    except errors.UniqueViolation as error:
        message = _TAKEN.get(error.diag.constraint_name or "", "An entry of this id exists.")
        raise Conflict(message, reason=Reason.ALREADY_EXISTS) from error
    except errors.CheckViolation as error:
        name = (error.diag.constraint_name or "").removeprefix(f"{error.diag.table_name or ''}_")
        known = _HELD.get(name)
        violations = (FieldViolation(*known),) if known else ()
        raise Invalid(f"The entry breaks a rule of the database: {name}.", violations=violations) from error


def _thing(error: psycopg.Error) -> str:
    """`provider_location_exists` on table `provider` speaks of a location."""
    name = (error.diag.constraint_name or "").removeprefix(f"{error.diag.table_name or ''}_")
    return name.removesuffix("_exists").replace("_", " ") or "entry"
