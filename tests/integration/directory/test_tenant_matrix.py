"""Another clinic's id is answered as an id of nothing: every RPC, every field, from the descriptors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
import pytest
from medforall.options.v1 import options_pb2 as options
from medforall.realtime.v1 import realtime_pb2

from scheduling.rules.registry import RULE_KINDS
from tests.integration.directory.conftest import Suite
from tests.integration.directory.tenants import (
    CREATED,
    PROCESS_OF,
    Caller,
    Outcome,
    World,
    access_of,
    book,
    make_world,
    may_admin,
    request_of,
    rows_of,
)
from tests.support.booking import BookingProcess, environment_of
from tests.support.contracts import SERVICES
from tests.support.practice import new_id
from tests.support.requests import CHANNELS, IdField, id_fields, unnamed_fields
from tests.support.servers import Servers

RPCS: Final = [
    (name, method.name) for name, contract in SERVICES.items() for method in contract.service.methods
]
# Answered otherwise than with NOT_FOUND, and the same for every id: these say why.
ANSWERED_OTHERWISE: Final = {
    "BatchSearchSlots.searches.clinic_id": "INVALID_ARGUMENT",  # a batch is of one clinic, its own
    "UpdateServiceRule.service_rule.service_id": "INVALID_ARGUMENT",  # a rule never speaks of another service
    "UpdateServiceRule.service_rule.provider_id": "INVALID_ARGUMENT",  # nor of another provider
    "UpdateWindow.window.resource_id": "INVALID_ARGUMENT",  # a window never moves to another resource
    "Subscribe.channels.provider": "OK",  # not looked up: as silent as one of nothing, see below
    "Subscribe.channels.location": "OK",  # the same
    "Subscribe.channels.patient": "PERMISSION_DENIED",  # for a patient's own token alone, see below
}
# Fields that may carry an id, and are no clinic's way to name a thing of the directory or a visit.
NAMING_NOTHING: Final = {
    "Provider.credentials": "a free form that nobody reads",
    "Room.features": "a free form that nobody reads",
    "ListAuditEventsRequest.entity_id": "an id of any kind, answered with an empty page: see below",
    "Hello.gateway_id": "made by a gateway at its start",
    "PresentUser.user_id": "the subject of a token",
}
# The rule types by the fields of their payloads that carry ids.
IDS_OF_PAYLOADS: Final = {
    "allowed_provider": {"provider_ids"},
    "required_equipment_type": set[str](),
    "room_type": set[str](),
    "min_gap": set[str](),
    "max_daily": set[str](),
    "lead_time": set[str](),
    "blackout_dates": set[str](),
    "patient_limit": set[str](),
}
# What the clinic's own ids may be answered with: the call got past them.
PAST_THE_CHECK: Final = {"OK", "FAILED_PRECONDITION"}


@pytest.fixture(scope="module")
def targets(
    suite: Suite, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Where each process listens: the suite's, and those of availability and realtime on the same database and bus."""
    redis_url = f"{servers.redis_url.rstrip('/').removesuffix('/0')}/11"
    environment = environment_of(suite.database, suite.keys, servers.nats_url)
    environment |= {"MEDFORALL_REDIS_URL": redis_url}
    folder = tmp_path_factory.mktemp("processes")
    started: dict[str, BookingProcess] = {}
    try:
        for module in ("availability_svc", "realtime_svc"):
            started[module] = BookingProcess(environment, folder / f"{module}.log", module=module)
        for process in started.values():
            process.wait_serving()
        yield {"booking_svc": suite.process.target} | {name: one.target for name, one in started.items()}
    finally:
        for process in started.values():
            process.stop()


@pytest.fixture
async def caller(suite: Suite, targets: dict[str, str]) -> AsyncIterator[Caller]:
    async with AsyncExitStack() as stack:
        channels = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(target))
            for name, target in targets.items()
        }
        yield Caller(suite, channels, targets)


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
        assert rows_of(suite, made.foreign.clinic) == made.rows


@pytest.fixture
async def foreign(suite: Suite, caller: Caller, kept: Kept) -> World:
    if kept.foreign is None:
        kept.foreign = await make_world(suite, caller)
        kept.rows = rows_of(suite, kept.foreign.clinic)
    return kept.foreign


@pytest.fixture
async def read(suite: Suite, caller: Caller, kept: Kept) -> World:
    if kept.read is None:
        kept.read = await make_world(suite, caller)
    return kept.read


def test_every_service_and_field_of_the_contracts_has_joined() -> None:
    """A service that no process of the matrix serves, or a field that may carry an id and names nothing, fails."""
    assert set(SERVICES) == set(PROCESS_OF)
    requests = [SERVICES[service].method(method).input_type for service, method in RPCS]
    assert {name for request in requests for name in unnamed_fields(request)} == set(NAMING_NOTHING)


def test_every_id_of_a_rules_payload_has_joined() -> None:
    """A rule type that is not known here, or whose payload may carry other ids than are tried, fails."""
    assert set(RULE_KINDS) == set(IDS_OF_PAYLOADS)
    tried = {
        field.part for field in id_fields(SERVICES["DirectoryService"].method("CreateServiceRule").input_type)
    }
    assert set.union(*IDS_OF_PAYLOADS.values()) == tried - {""}


@pytest.mark.parametrize(("service", "method"), RPCS)
async def test_a_foreign_id_is_an_id_of_nothing(  # noqa: PLR0917 - fixtures
    suite: Suite, caller: Caller, read: World, foreign: World, service: str, method: str
) -> None:
    """In each id field a foreign id is answered to the letter as a random one, and the own one gets past.

    What no admin may call, as `Connect`, is refused to one for all three alike, and gets past for the platform.
    """
    own = read
    if access_of(service, method).mutating:
        own = await make_world(suite, caller, with_visits=service == "BookingService")
    contract = SERVICES[service].method(method)
    fault_of = told_apart if may_admin(service, method) else let_in
    faults = [
        await fault_of(caller, own, foreign, (service, method), field)
        for field in id_fields(contract.input_type)
    ]
    assert not [fault for fault in faults if fault]
    answer = await caller.outcome(own, service, method, request_of(own, service, method))
    assert answer[0] in PAST_THE_CHECK, answer


Fault = tuple[str, Outcome, Outcome, Outcome]
"""A field, and what was answered to the clinic's own id, to another clinic's and to a random one."""


async def told_apart(
    caller: Caller, own: World, foreign: World, rpc: tuple[str, str], field: IdField
) -> Fault | None:
    """The answers to ids in a field, if a foreign one is not answered as a random one and as it must be."""
    answers = [await _answer(caller, own, rpc, field, value) for value in (_id_in(foreign, field), new_id())]
    # A field's own id is in every request of the clinic; only one that is a part of something must be tried.
    mine = await _answer(caller, own, rpc, field, _id_in(own, field)) if field.part else ("OK",)
    expected = _expected(rpc[1], field)
    is_open = mine == answers[0] if expected == "PERMISSION_DENIED" else mine[0] in PAST_THE_CHECK
    if is_open and answers[0] == answers[1] and expected in (None, answers[0][0]):
        return None
    return field.name, mine, answers[0], answers[1]


async def let_in(
    caller: Caller, own: World, foreign: World, rpc: tuple[str, str], field: IdField
) -> Fault | None:
    """An admin's answers to ids in a field of a call that is the platform's, if they are not one refusal."""
    token = caller.token(own.clinic)
    values = (_id_in(own, field), _id_in(foreign, field), new_id())
    mine, *answers = [await _answer(caller, own, rpc, field, value, token=token) for value in values]
    if mine[0] == "PERMISSION_DENIED" and answers == [mine, mine]:
        return None
    return field.name, mine, answers[0], answers[1]


async def _answer(
    caller: Caller, own: World, rpc: tuple[str, str], field: IdField, value: str, *, token: str = ""
) -> Outcome:
    request = request_of(own, *rpc)
    field.put(request, value)
    return await caller.outcome(own, *rpc, request, token=token)


def _id_in(world: World, field: IdField) -> str:
    return world.hold_id if field.path == ("hold_id",) else world.ids[field.kind]


def _expected(method: str, field: IdField) -> str | None:
    """The code that any id but an own one must give; None where the service takes no notice of the field."""
    if field.is_read_only:
        return None
    return ANSWERED_OTHERWISE.get(f"{method}.{field.name}", "NOT_FOUND")


async def test_a_foreign_provider_is_one_of_nothing_beside_an_own_one(
    caller: Caller, read: World, foreign: World
) -> None:
    """A rule's payload is refused for one id among several as for one alone."""
    rpc = ("DirectoryService", "CreateServiceRule")
    answers = []
    for provider in (foreign.practice.provider, new_id()):
        request = request_of(read, *rpc)
        request.service_rule.rule_payload["provider_ids"].append(provider)
        answers.append(await caller.outcome(read, *rpc, request))
    assert answers[0] == answers[1]
    assert answers[0][0] == "NOT_FOUND"


NARROWED: Final = [
    (service, method)
    for service, method in RPCS
    if method.startswith("List")
    and any(field.path != ("clinic_id",) for field in id_fields(SERVICES[service].method(method).input_type))
]


@pytest.mark.parametrize(("service", "method"), NARROWED)
async def test_a_list_that_is_narrowed_by_own_ids_has_rows(
    caller: Caller, read: World, service: str, method: str
) -> None:
    """What is refused to another clinic's ids is there by the clinic's own."""
    reply = await caller.send(read.clinic, service, method, request_of(read, service, method))
    rows = next(field.name for field in reply.DESCRIPTOR.fields if field.is_repeated)
    assert getattr(reply, rows)


@pytest.mark.parametrize("kind", [*CREATED, options.RESOURCE_KIND_APPOINTMENT], ids=options.ResourceKind.Name)
async def test_the_audit_of_a_foreign_thing_is_the_empty_one_of_nothing(
    caller: Caller, read: World, foreign: World, kind: options.ResourceKind.ValueType
) -> None:
    """By the id of another clinic's thing the audit lists what it lists by a random id, by an own one its rows."""
    own, other, nothing = [
        await audit(caller, read, entity_id=value) for value in (read.ids[kind], foreign.ids[kind], new_id())
    ]
    assert {event.entity_id for event in own.audit_events} == {read.ids[kind]}
    assert other == nothing == type(other)()


async def test_the_audit_of_a_foreign_actor_is_the_empty_one_of_nobody(
    caller: Caller, read: World, foreign: World
) -> None:
    """By the subject of another clinic's token the audit lists what it lists by a made-up one."""
    subject = caller.subject(read.clinic)
    own, other, nobody = [
        await audit(caller, read, actor=actor)
        for actor in (subject, caller.subject(foreign.clinic), "nobody")
    ]
    assert {event.actor for event in own.audit_events} == {subject}
    assert other == nobody == type(other)()


async def audit(caller: Caller, world: World, **filters: str) -> Any:
    """A page of a clinic's audit."""
    request = SERVICES["DirectoryService"].request("ListAuditEvents")(clinic_id=world.clinic, **filters)
    return await caller.send(world.clinic, "DirectoryService", "ListAuditEvents", request)


SUBSCRIBE: Final = ("RealtimeService", "Subscribe")


async def test_a_patients_channel_is_open_to_its_own_token_alone(
    caller: Caller, read: World, foreign: World
) -> None:
    """To a patient's token another clinic's patient is one of nothing, and itself is there."""
    patient = options.RESOURCE_KIND_PATIENT
    token = caller.token(read.clinic, "patient", scopes=("read:appointments",), patient_id=read.ids[patient])
    answers = []
    for value in (read.ids[patient], foreign.ids[patient], new_id()):
        request = request_of(read, *SUBSCRIBE)
        request.channels[:] = CHANNELS["patient"][1](value)
        answers.append(await caller.outcome(read, *SUBSCRIBE, request, token=token))
    assert answers[0] == ("OK",)
    assert answers[1] == answers[2]
    assert answers[1][0] == "NOT_FOUND"


async def test_another_clinics_channels_are_as_silent_as_those_of_nothing(
    suite: Suite, caller: Caller
) -> None:
    """Subscribers and gateways of one clinic hear nothing of another, whose provider and location they have joined."""
    mine, theirs = [await make_world(suite, caller, with_visits=False) for _ in range(2)]
    listeners = [
        await subscribed(caller, mine.clinic, [f"clinic:{mine.clinic}", *_seen(ids)])
        for ids in (theirs.ids, dict.fromkeys(theirs.ids, new_id()))
    ]
    gateway = await gateway_joined(caller, mine.clinic, [f"clinic:{mine.clinic}", *_seen(theirs.ids)])
    their_own = [await subscribed(caller, theirs.clinic, [channel]) for channel in _seen(theirs.ids)]
    try:
        visit = await book(caller, theirs.clinic, theirs.ids, 14)
        for call in their_own:
            assert (await until_booked(call))[-1].appointment.appointment_id == visit.id
        visit = await book(caller, mine.clinic, mine.ids, 14)
        for told in [await until_booked(call) for call in listeners]:
            assert told[-1].appointment.appointment_id == visit.id
            assert {_clinic_of(message) for message in told} == {mine.clinic}
        assert {delivery.clinic_id for delivery in await until_delivered(gateway)} == {mine.clinic}
    finally:
        for call in (*listeners, *their_own, gateway):
            call.cancel()


def _seen(ids: Any) -> list[str]:
    """The channels of a clinic's provider and location."""
    return [
        channel for kind in ("provider", "location") for channel in CHANNELS[kind][1](ids[CHANNELS[kind][0]])
    ]


async def subscribed(caller: Caller, clinic: str, channels: list[str]) -> Any:
    """A subscription that is live."""
    request = realtime_pb2.SubscribeRequest(clinic_id=clinic, channels=channels)
    call = await caller.open(*SUBSCRIBE, request, caller.token(clinic))
    assert (await call.read()).HasField("position")
    return call


async def gateway_joined(caller: Caller, clinic: str, channels: list[str]) -> Any:
    """A gateway's stream that has joined channels."""
    join = realtime_pb2.Join(request_id=1, clinic_id=clinic, channels=channels)
    request = realtime_pb2.ConnectRequest(join=join)
    call = await caller.open("RealtimeService", "Connect", request, caller.token("", "platform"))
    joined = (await call.read()).joined
    assert joined.request_id == 1
    assert not joined.HasField("resync")
    return call


async def until_booked(call: Any) -> list[realtime_pb2.Message]:
    """What a subscriber is told up to a booking."""
    told: list[realtime_pb2.Message] = []
    while not told or told[-1].type != "appointment.created":
        item = await call.read()
        told += [item.message] if item.HasField("message") else []
    return told


async def until_delivered(call: Any) -> list[realtime_pb2.Delivery]:
    """What a gateway is told up to a booking."""
    told: list[realtime_pb2.Delivery] = []
    while not told or told[-1].type != "appointment.created":
        item = await call.read()
        told += [item.delivery] if item.HasField("delivery") else []
    return told


def _clinic_of(message: realtime_pb2.Message) -> str:
    """The clinic that a message speaks of."""
    payload = getattr(message, message.WhichOneof("payload") or "")
    return str(payload.clinic_id)
