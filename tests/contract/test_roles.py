"""Every RPC of every contract held against the table of roles, written out here by hand.

The table is a second statement of who may do what; the contracts' `access` options are the first. An RPC that is
missing here fails, of whatever service of `protos/`, so that nobody adds one without deciding who may call it. What a
role may do within a call (a patient for itself only, a provider in its own calendar only) is the use cases' part and
tested with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from medforall.options.v1 import options_pb2

from chassis.auth.principal import Principal, Role
from chassis.interceptors.auth import check_access
from chassis.interceptors.methods import Method, describe_methods
from scheduling.errors import Forbidden
from tests.support.contracts import SERVICES

# A word a group of callers; letters of the table below.
A, F, P, T, S, O = (  # noqa: E741 - letters of a table
    Role.ADMIN, Role.FRONT_DESK, Role.PROVIDER, Role.PATIENT, Role.SERVICE, Role.PLATFORM,
)  # fmt: skip
EVERYBODY: Final = {A, F, P, T, S}
STAFF: Final = {A, F, P, S}
BOOKS: Final = {A, F, T, S}
SETS_UP: Final = {A, S}

_READ_BY_ALL: Final = ("Location", "Provider", "Service")
_READ_BY_STAFF: Final = ("Closure", "Room", "Equipment", "ServiceRule", "Window", "Preference")
_OWN_OF_PROVIDERS: Final = ("Window", "Preference")


def _plural(word: str) -> str:
    return word if word == "Equipment" else f"{word}s"


def _directory_table() -> Iterator[tuple[str, str, set[Role]]]:
    for word in (*_READ_BY_ALL, *_READ_BY_STAFF):
        readers = EVERYBODY if word in _READ_BY_ALL else STAFF
        writers = SETS_UP | {P} if word in _OWN_OF_PROVIDERS else SETS_UP
        yield f"Get{word}", "read:directory", readers
        yield f"List{_plural(word)}", "read:directory", readers
        for verb in ("Create", "Update", "Deactivate"):
            yield f"{verb}{word}", "write:directory", writers


# RPC -> (scopes of which one is needed, roles).
TABLE: Final[dict[str, tuple[str, set[Role]]]] = {
    "AvailabilityService.SearchSlots": ("read:availability", EVERYBODY),
    "AvailabilityService.FindNextAvailable": ("read:availability", EVERYBODY),
    "AvailabilityService.BatchSearchSlots": ("read:availability", EVERYBODY),
    "AvailabilityService.GetFreeBusy": ("read:availability", STAFF),
    "AvailabilityService.ExplainSlot": ("read:availability", STAFF),
    "AvailabilityService.ExplainDay": ("read:availability", STAFF),
    # A provider reads its own calendar and moves its visits on; it does not book or move them.
    "BookingService.CreateAppointment": ("write:appointments", BOOKS),
    "BookingService.RescheduleAppointment": ("write:appointments", BOOKS),
    "BookingService.CreateHold": ("write:appointments", BOOKS),
    "BookingService.RenewHold": ("write:appointments", BOOKS),
    "BookingService.ConfirmHold": ("write:appointments", BOOKS),
    "BookingService.ReleaseHold": ("write:appointments", BOOKS),
    "BookingService.GetAppointment": ("read:appointments", EVERYBODY),
    "BookingService.ListAppointments": ("read:appointments", EVERYBODY),
    "BookingService.UpdateAppointment": ("write:appointments", EVERYBODY),
    "BookingService.CancelAppointment": ("write:appointments", EVERYBODY),
    "BookingService.ConfirmAppointment": ("write:appointments", EVERYBODY),
    "BookingService.CheckInAppointment": ("write:appointments", STAFF),
    "BookingService.StartAppointment": ("write:appointments", STAFF),
    "BookingService.CompleteAppointment": ("write:appointments", STAFF),
    "BookingService.MarkNoShow": ("write:appointments", STAFF),
    # The installation's operators make and close clinics; of a clinic they see name and status, none of its data.
    "DirectoryService.CreateClinic": ("platform", {O}),
    "DirectoryService.ListClinics": ("platform", {O}),
    "DirectoryService.SetClinicStatus": ("platform", {O}),
    "DirectoryService.GetClinic": ("platform read:directory", EVERYBODY | {O}),
    "DirectoryService.GetPublicClinic": ("read:directory", EVERYBODY),
    # The gateway's question, with the token of whoever calls: a clinic's limit holds whatever its callers may read.
    "DirectoryService.GetClinicLimits": ("", EVERYBODY),
    "DirectoryService.UpdateClinic": ("write:directory", SETS_UP),
    "DirectoryService.PreviewWindows": ("read:directory write:directory", SETS_UP | {P}),
    **{f"DirectoryService.{name}": (scope, roles) for name, scope, roles in _directory_table()},
    # A provider reads its own patients by their ids; only those who serve any patient search.
    # With `break:glass` in place of `read:phi`, what was granted in an emergency is all there is.
    "DirectoryService.GetPatient": ("break:glass read:phi", EVERYBODY),
    "DirectoryService.BatchGetPatients": ("break:glass read:phi", EVERYBODY),
    "DirectoryService.ListPatients": ("break:glass read:phi", {A, F, S}),
    "DirectoryService.CreatePatient": ("write:phi", {A, F, S}),
    "DirectoryService.UpdatePatient": ("write:phi", {A, F, S}),
    "DirectoryService.DeactivatePatient": ("write:phi", {A, F, S}),
    # Emergency access is the admin's, and so is reading who used it.
    "DirectoryService.BreakGlass": ("break:glass", {A}),
    "DirectoryService.ListBreakGlass": ("read:audit", {A}),
    "DirectoryService.ListAuditEvents": ("read:audit", {A}),
    "RealtimeService.Subscribe": ("read:appointments", EVERYBODY),
    "RealtimeService.GetPresence": ("", {A, F, P}),
    # The gateway's own connection: it carries the tokens of those it speaks for.
    "RealtimeService.Connect": ("connect:realtime", {O}),
}
ANONYMOUS: Final = {
    "AvailabilityService.SearchSlots",
    "AvailabilityService.FindNextAvailable",
    "DirectoryService.GetPublicClinic",
}
READS: Final = ("Get", "List", "Search", "Find", "Batch", "Explain", "Preview", "Subscribe", "Connect")


def _methods() -> dict[str, Method]:
    described = describe_methods(contract.service for contract in SERVICES.values()).values()
    return {f"{method.service.rpartition('.')[2]}.{method.name}": method for method in described}


METHODS: Final = _methods()


def _principal(role: Role, scopes: set[str]) -> Principal:
    clinic_id = "" if role is Role.PLATFORM else "0198d1b0-0000-7000-8000-000000000001"
    return Principal(subject="tester", clinic_id=clinic_id, role=role, scopes=frozenset(scopes))


def _may(method: Method, role: Role, scopes: set[str]) -> bool:
    try:
        check_access(method, _principal(role, scopes))
    except Forbidden:
        return False
    return True


def test_every_rpc_is_in_the_table() -> None:
    """An RPC that the table does not know, or that is gone from the contracts, fails."""
    assert set(METHODS) == set(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_an_rpc_serves_exactly_the_roles_of_the_table(name: str) -> None:
    """With its scope each role of the table gets in, and no other role does, whatever its scopes."""
    scopes, roles = set(TABLE[name][0].split()), TABLE[name][1]
    assert {role for role in Role if _may(METHODS[name], role, scopes)} == roles
    every_scope = {scope for wanted, _ in TABLE.values() for scope in wanted.split()}
    assert {role for role in Role if _may(METHODS[name], role, every_scope)} == roles


@pytest.mark.parametrize("name", sorted(TABLE))
def test_an_rpc_needs_one_of_its_scopes(name: str) -> None:
    """Each scope of the table is enough, and without any of them nobody gets in."""
    wanted, roles = set(TABLE[name][0].split()), TABLE[name][1]
    assert METHODS[name].scopes == wanted
    every_other = {scope for scopes, _ in TABLE.values() for scope in scopes.split()} - wanted
    for role in roles:
        assert all(_may(METHODS[name], role, {scope}) for scope in wanted)
        assert _may(METHODS[name], role, every_other) == (not wanted)


def test_only_public_reads_take_callers_without_a_token() -> None:
    """Three reads may be opened to anybody by a clinic; nothing is public as such."""
    assert {name for name, method in METHODS.items() if method.anonymous} == ANONYMOUS
    assert not [name for name, method in METHODS.items() if method.public]


def test_calls_that_change_something_say_so() -> None:
    """Every RPC that is no read is marked as mutating, has a rate class, and takes an idempotency key."""
    for contract in SERVICES.values():
        for method in contract.service.methods:
            access = method.GetOptions().Extensions[options_pb2.access]
            assert access.rate_class, method.full_name
            assert access.mutating != method.name.startswith(READS), method.full_name
            assert access.mutating <= ("idempotency_key" in method.input_type.fields_by_name)
