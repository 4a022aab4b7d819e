"""Clinics with one thing of each kind, and a caller of every RPC for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import psycopg
from medforall.booking.v1 import booking_pb2
from medforall.directory.v1 import directory_pb2
from medforall.options.v1 import options_pb2 as options
from medforall.realtime.v1 import realtime_pb2

from chassis.auth.principal import Role
from ctl.key_store import DEFAULT_SCOPES
from tests.integration.directory.conftest import Suite
from tests.support.booking import details_of
from tests.support.contracts import SERVICES
from tests.support.practice import Practice, at, new_id, new_practice
from tests.support.requests import Ids, filled

PROCESS_OF: Final = {
    "AvailabilityService": "availability_svc",
    "BookingService": "booking_svc",
    "DirectoryService": "booking_svc",
    "RealtimeService": "realtime_svc",
}
"""Which process serves a service: one that is missing here has not joined the matrix."""

ADMIN_SCOPES: Final = (*DEFAULT_SCOPES[Role.ADMIN], "read:audit", "break:glass", "override:booking")
_LATER: Final = {"start": "2027-03-01T09:00", "end": "2027-03-01T17:00"}

Outcome = tuple[Any, ...]
"""Code, reason, message, metadata and violations of a refusal; `("OK",)` of an answer."""


@dataclass(frozen=True, slots=True)
class World:
    """A clinic with one thing of each kind."""

    practice: Practice
    ids: Ids
    hold_id: str
    hold_token: str

    @property
    def clinic(self) -> str:
        return self.practice.clinic


class Caller:
    """Calls any RPC with a token, by default an admin's of a clinic, or the platform's where no admin may."""

    def __init__(
        self, suite: Suite, channels: Mapping[str, grpc.aio.Channel], targets: Mapping[str, str]
    ) -> None:
        self._suite = suite
        self._targets = targets
        self._stubs = {name: contract.stub(channels[PROCESS_OF[name]]) for name, contract in SERVICES.items()}

    def subject(self, clinic: str, role: str = "admin") -> str:
        """Whose tokens they are."""
        return f"{role}-of-{clinic}"

    def token(self, clinic: str, role: str = "admin", **claims: Any) -> str:
        """A token of a clinic, or of the platform."""
        if role == "platform":
            return self._suite.keys.token("", role, scopes=("platform", "connect:realtime"))
        scopes = claims.pop("scopes", ADMIN_SCOPES)
        return self._suite.keys.token(clinic, role, self.subject(clinic, role), scopes=scopes, **claims)

    async def send(self, clinic: str, service: str, method: str, request: Any, *, token: str = "") -> Any:
        """The answer; of a stream the first item."""
        token = token or self.token(clinic, "admin" if may_admin(service, method) else "platform")
        if SERVICES[service].method(method).client_streaming:
            return await asyncio.to_thread(self._first_answer, service, method, request, token)
        if SERVICES[service].method(method).server_streaming:
            opened = await self.open(service, method, request, token)
            try:
                return await opened.read()
            finally:
                opened.cancel()
        call, metadata = getattr(self._stubs[service], method), [("authorization", f"Bearer {token}")]
        return await call(request, metadata=metadata, timeout=10)

    def _first_answer(self, service: str, method: str, request: Any, token: str) -> Any:
        """The same of a stream of many messages. grpc.aio tells no refusal that comes while a message is written."""
        over = threading.Event()
        with grpc.insecure_channel(self._targets[PROCESS_OF[service]]) as channel:
            call, metadata = (
                getattr(SERVICES[service].stub(channel), method),
                [("authorization", f"Bearer {token}")],
            )
            try:
                return next(call(_as_gateway(request, over), metadata=metadata, timeout=10))
            finally:
                over.set()

    async def open(self, service: str, method: str, request: Any, token: str) -> Any:
        """A stream; into one that takes many messages a gateway's hello goes first."""
        call, metadata = getattr(self._stubs[service], method), [("authorization", f"Bearer {token}")]
        if not SERVICES[service].method(method).client_streaming:
            return call(request, metadata=metadata, timeout=60)
        opened = call(metadata=metadata, timeout=60)
        for message in (_hello(), request):
            await opened.write(message)
        return opened

    async def outcome(
        self, world: World, service: str, method: str, request: Any, *, token: str = ""
    ) -> Outcome:
        """Code, reason, message and fields of the refusal, or OK."""
        try:
            await self.send(world.clinic, service, method, request, token=token)
        except grpc.RpcError as error:
            details = details_of(error)
            info, fields = details["ErrorInfo"], details.get("BadRequest")
            metadata = {key: value for key, value in info.metadata.items() if key != "requestId"}
            violations = (
                [(item.field, item.description) for item in fields.field_violations] if fields else []
            )
            return error.code().name, info.reason, error.details(), metadata, violations
        return ("OK",)


def _hello() -> Any:
    return realtime_pb2.ConnectRequest(hello=realtime_pb2.Hello(gateway_id=new_id(), stream=1))


def _as_gateway(request: Any, over: threading.Event) -> Iterator[Any]:
    """A gateway's hello and a request, and nothing more until the call is over."""
    yield _hello()
    yield request
    over.wait(10)


def access_of(service: str, method: str) -> Any:
    """What the contract says of a method."""
    return SERVICES[service].method(method).GetOptions().Extensions[options.access]


def may_admin(service: str, method: str) -> bool:
    """Whether an admin may call it."""
    return options.ROLE_ADMIN in access_of(service, method).roles


def request_of(world: World, service: str, method: str) -> Any:
    """A request of the clinic with its own ids."""
    special = {"hold_id": world.hold_id, "hold_token": world.hold_token, **_composed(world.ids)}
    return filled(SERVICES[service].request(method), world.ids, special)


def _composed(ids: Ids) -> dict[str, Any]:
    """The fields that carry ids within something else."""
    return {
        "channels": [f"clinic:{ids[options.RESOURCE_KIND_CLINIC]}"],
        "rule_type": "allowed_provider",
        "rule_payload": {"provider_ids": [ids[options.RESOURCE_KIND_PROVIDER]]},
    }


CREATED: Final = {
    options.RESOURCE_KIND_PATIENT: "Patient",
    options.RESOURCE_KIND_CLOSURE: "Closure",
    options.RESOURCE_KIND_SERVICE_RULE: "ServiceRule",
    options.RESOURCE_KIND_WINDOW: "Window",
    options.RESOURCE_KIND_PREFERENCE: "Preference",
}
"""What is made through the RPCs, and so is in the audit."""


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
        options.RESOURCE_KIND_APPOINTMENT: "",
    }
    for kind, word in CREATED.items():
        ids[kind] = new_id()
        special = _LATER | _composed(ids)
        request = filled(getattr(directory_pb2, f"Create{word}Request"), ids, special)
        field = next(field for field in request.DESCRIPTOR.fields if field.message_type is not None)
        getattr(request, field.name).id = ids[kind]
        await caller.send(practice.clinic, "DirectoryService", f"Create{word}", request)
    if not with_visits:
        return World(practice, ids, "", "")
    ids[options.RESOURCE_KIND_APPOINTMENT] = (await book(caller, practice.clinic, ids, 14)).id
    held = filled(booking_pb2.CreateHoldRequest, ids, {"start": at(16)})
    held.ClearField("patient_id")
    hold = await caller.send(practice.clinic, "BookingService", "CreateHold", held)
    return World(practice, ids, hold.appointment.id, hold.hold_token)


async def book(caller: Caller, clinic: str, ids: Ids, hour: int) -> Any:
    """Book the clinic's service, and return the appointment."""
    request = filled(booking_pb2.CreateAppointmentRequest, ids, {"start": at(hour)})
    return (await caller.send(clinic, "BookingService", "CreateAppointment", request)).appointment


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
