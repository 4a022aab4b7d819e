"""Another clinic's id is answered as an id of nothing: every RPC, every field, from the descriptors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import psycopg
import pytest
from medforall.availability.v1 import availability_pb2, availability_pb2_grpc
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc
from medforall.options.v1 import options_pb2 as options

from chassis.auth.principal import Role
from ctl.key_store import DEFAULT_SCOPES
from tests.integration.directory.conftest import Suite
from tests.support.booking import BookingProcess, details_of, environment_of
from tests.support.practice import Practice, at, new_id, new_practice
from tests.support.requests import IdField, Ids, filled, id_fields
from tests.support.servers import Servers

CONTRACTS: Final = {
    "AvailabilityService": (availability_pb2, availability_pb2_grpc.AvailabilityServiceStub),
    "BookingService": (booking_pb2, booking_pb2_grpc.BookingServiceStub),
    "DirectoryService": (directory_pb2, directory_pb2_grpc.DirectoryServiceStub),
}
RPCS: Final = [
    (service, method.name)
    for service, (module, _) in CONTRACTS.items()
    for method in module.DESCRIPTOR.services_by_name[service].methods
]
# Answered otherwise than with NOT_FOUND, and the same for every id: these say why.
ANSWERED_OTHERWISE: Final = {
    "BatchSearchSlots.searches.clinic_id": "INVALID_ARGUMENT",  # a batch is of one clinic, its own
    "UpdateServiceRule.service_rule.service_id": "INVALID_ARGUMENT",  # a rule never speaks of another service
    "UpdateServiceRule.service_rule.provider_id": "INVALID_ARGUMENT",  # nor of another provider
    "UpdateWindow.window.resource_id": "INVALID_ARGUMENT",  # a window never moves to another resource
}
# What the clinic's own ids may be answered with: the call got past them.
PAST_THE_CHECK: Final = {"OK", "FAILED_PRECONDITION"}
_LATER: Final = {"start": "2027-03-01T09:00", "end": "2027-03-01T17:00"}
ADMIN_SCOPES: Final = (*DEFAULT_SCOPES[Role.ADMIN], "read:audit", "break:glass", "override:booking")


@dataclass(frozen=True, slots=True)
class World:
    """A clinic with one thing of each kind."""

    practice: Practice
    ids: Ids
    hold_id: str
    hold_token: str


class Caller:
    """Calls any RPC as an admin of a clinic, or as the platform where no admin may."""

    def __init__(self, suite: Suite, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._suite = suite
        self._stubs = {
            service: stub(channels.get(service, channels["BookingService"]))
            for service, (_, stub) in CONTRACTS.items()
        }

    async def send(self, world: World | Practice, service: str, method: str, request: Any) -> Any:
        practice = world.practice if isinstance(world, World) else world
        token = self._suite.keys.token(practice.clinic, "admin", scopes=ADMIN_SCOPES)
        if not may_admin(service, method):
            token = self._suite.keys.token("", "platform", scopes=("platform",))
        metadata = [("authorization", f"Bearer {token}")]
        return await getattr(self._stubs[service], method)(request, metadata=metadata, timeout=10)

    async def outcome(self, world: World, service: str, method: str, request: Any) -> tuple[Any, ...]:
        """Code, reason, message and fields of the refusal, or OK."""
        try:
            await self.send(world, service, method, request)
        except grpc.aio.AioRpcError as error:
            details = details_of(error)
            info, fields = details["ErrorInfo"], details.get("BadRequest")
            metadata = {key: value for key, value in info.metadata.items() if key != "requestId"}
            violations = (
                [(item.field, item.description) for item in fields.field_violations] if fields else []
            )
            return error.code().name, info.reason, error.details(), metadata, violations
        return ("OK",)


def access_of(service: str, method: str) -> Any:
    """What the contract says of a method."""
    found = CONTRACTS[service][0].DESCRIPTOR.services_by_name[service].methods_by_name[method]
    return found.GetOptions().Extensions[options.access]


def may_admin(service: str, method: str) -> bool:
    return options.ROLE_ADMIN in access_of(service, method).roles


async def make_world(suite: Suite, caller: Caller, *, with_visits: bool = True) -> World:
    """Commit a clinic and, through the RPCs, one thing of each kind; visits only where they are named."""
    practice = new_practice(suite.database, patients=0)
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("UPDATE clinic SET public_search = true WHERE id = %s", (practice.clinic,))
        practice.add_equipment(owner, "ecg", 1)
    ids: dict[int, str] = {
        options.RESOURCE_KIND_CLINIC: practice.clinic,
        options.RESOURCE_KIND_LOCATION: practice.location,
        options.RESOURCE_KIND_PROVIDER: practice.provider,
        options.RESOURCE_KIND_ROOM: practice.rooms[0],
        options.RESOURCE_KIND_EQUIPMENT: practice.equipment[0],
        options.RESOURCE_KIND_SERVICE: practice.service,
    }
    for kind, word in (
        (options.RESOURCE_KIND_PATIENT, "Patient"),
        (options.RESOURCE_KIND_CLOSURE, "Closure"),
        (options.RESOURCE_KIND_SERVICE_RULE, "ServiceRule"),
        (options.RESOURCE_KIND_WINDOW, "Window"),
        (options.RESOURCE_KIND_PREFERENCE, "Preference"),
    ):
        ids[kind] = new_id()
        request = filled(getattr(directory_pb2, f"Create{word}Request"), ids, _LATER)
        field = next(field for field in request.DESCRIPTOR.fields if field.message_type is not None)
        getattr(request, field.name).id = ids[kind]
        await caller.send(practice, "DirectoryService", f"Create{word}", request)
    ids[options.RESOURCE_KIND_APPOINTMENT] = ""
    if not with_visits:
        return World(practice, ids, "", "")
    booked = filled(booking_pb2.CreateAppointmentRequest, ids, {"start": at(14)})
    made = await caller.send(practice, "BookingService", "CreateAppointment", booked)
    ids[options.RESOURCE_KIND_APPOINTMENT] = made.appointment.id
    held = filled(booking_pb2.CreateHoldRequest, ids, {"start": at(16)})
    held.ClearField("patient_id")
    hold = await caller.send(practice, "BookingService", "CreateHold", held)
    return World(practice, ids, hold.appointment.id, hold.hold_token)


def request_of(world: World, service: str, method: str) -> Any:
    """A request of the clinic with its own ids."""
    module = CONTRACTS[service][0]
    special = {"hold_id": world.hold_id, "hold_token": world.hold_token}
    return filled(getattr(module, f"{method}Request"), world.ids, special)


@pytest.fixture(scope="module")
def availability(suite: Suite, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The target of an availability process on the same database."""
    redis_url = f"{servers.redis_url.rstrip('/').removesuffix('/0')}/11"
    environment = environment_of(suite.database, suite.keys, servers.nats_url)
    log = tmp_path_factory.mktemp("availability") / "availability.log"
    process = BookingProcess(environment | {"MEDFORALL_REDIS_URL": redis_url}, log, module="availability_svc")
    try:
        process.wait_serving()
        yield process.target
    finally:
        process.stop()


@pytest.fixture
async def caller(suite: Suite, availability: str) -> AsyncIterator[Caller]:
    async with (
        grpc.aio.insecure_channel(suite.process.target) as booking,
        grpc.aio.insecure_channel(availability) as searching,
    ):
        yield Caller(suite, {"BookingService": booking, "AvailabilityService": searching})


@dataclass(slots=True)
class Kept:
    """What the tests of this module share, made by the first of them."""

    foreign: World | None = None
    rows: dict[str, Any] | None = None
    read: World | None = None


@pytest.fixture(scope="module")
def kept(suite: Suite) -> Iterator[Kept]:
    """The other clinic, of which no row has changed at the end, and one whose things are only read."""
    made = Kept()
    yield made
    if made.foreign is not None:
        assert rows_of(suite, made.foreign.practice.clinic) == made.rows


@pytest.fixture
async def foreign(suite: Suite, caller: Caller, kept: Kept) -> World:
    if kept.foreign is None:
        kept.foreign = await make_world(suite, caller)
        kept.rows = rows_of(suite, kept.foreign.practice.clinic)
    return kept.foreign


async def own_world(suite: Suite, caller: Caller, kept: Kept, service: str, method: str) -> World:
    """The caller's clinic: one of its own for a call that changes something."""
    if access_of(service, method).mutating:
        return await make_world(suite, caller, with_visits=service == "BookingService")
    if kept.read is None:
        kept.read = await make_world(suite, caller)
    return kept.read


def rows_of(suite: Suite, clinic: str) -> dict[str, Any]:
    """Every row of a clinic, as one hash a table; the relay's marks and the sealer's links aside."""
    with psycopg.connect(suite.database.owner_url) as owner:
        tables = [
            row[0]
            for row in owner.execute(
                "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
                " WHERE a.attname = 'clinic_id' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
                " AND c.relname NOT IN ('outbox_event', 'audit_seal')"
            )
        ]
        return {
            table: owner.execute(
                f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t"
                " WHERE clinic_id = %s",
                (clinic,),
            ).fetchone()
            for table in tables
        }


@pytest.mark.parametrize(("service", "method"), RPCS)
async def test_a_foreign_id_is_an_id_of_nothing(  # noqa: PLR0917 - fixtures
    suite: Suite, caller: Caller, kept: Kept, foreign: World, service: str, method: str
) -> None:
    """In each id field a foreign id is answered to the letter as a random one, and the own one gets past."""
    own = await own_world(suite, caller, kept, service, method)
    fields = list(id_fields(getattr(CONTRACTS[service][0], f"{method}Request").DESCRIPTOR))
    wrong = []
    for field in fields if may_admin(service, method) else []:
        answers = [
            await caller.outcome(own, service, method, _with(request_of(own, service, method), field, value))
            for value in (_id_in(foreign, field), new_id())
        ]
        expected = _expected(method, field)
        if answers[0] != answers[1] or (expected and answers[0][0] != expected):
            wrong.append((".".join(field.path), *answers))
    assert not wrong
    answer = await caller.outcome(own, service, method, request_of(own, service, method))
    assert answer[0] in PAST_THE_CHECK, answer


def _with(request: Any, field: IdField, value: str) -> Any:
    field.put(request, value)
    return request


def _id_in(world: World, field: IdField) -> str:
    return world.hold_id if field.path == ("hold_id",) else world.ids[field.kind]


def _expected(method: str, field: IdField) -> str | None:
    """The code that any id but an own one must give; None where the service takes no notice of the field."""
    if field.is_read_only:
        return None
    return ANSWERED_OTHERWISE.get(f"{method}.{'.'.join(field.path)}", "NOT_FOUND")
