"""What a violated constraint means: the constraint's name leads to the field and the refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import errors

from booking_svc.directory.checks import ZONE_WANTED
from scheduling.errors import Conflict, FieldViolation, Invalid, NotFound, Reason

_TAKEN: Final = {
    "unique_location_name_per_clinic": "A location of this name exists.",
    "unique_room_name_per_location": "A room of this name exists at this location.",
}


@contextmanager
def constraints_named() -> Iterator[None]:
    """Turn violations into refusals.

    A key that points nowhere, or to another clinic, raises NotFound; a taken name or id raises Conflict; a CHECK
    raises Invalid with the constraint's name, which says what must hold.
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
        name = error.diag.constraint_name or "check"
        raise Invalid(
            "The entry breaks a rule of the database.",
            violations=(FieldViolation(_field(error, name), f"must hold: {name.replace('_', ' ')}"),),
        ) from error


def _thing(error: psycopg.Error) -> str:
    """`provider_location_exists` on table `provider` speaks of a location."""
    name = (error.diag.constraint_name or "").removeprefix(f"{error.diag.table_name or ''}_")
    return name.removesuffix("_exists").replace("_", " ") or "entry"


def _field(error: psycopg.Error, name: str) -> str:
    return name.removeprefix(f"{error.diag.table_name or ''}_").split("_", 1)[0]
