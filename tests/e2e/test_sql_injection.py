"""SQL in every string of every call, over gRPC and REST: refused or stored as text, never run."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
import httpx
import psycopg
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from medforall.availability.v1 import availability_pb2, availability_pb2_grpc
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc
from medforall.options.v1 import options_pb2 as options
from psycopg import sql

from chassis.auth.principal import Role
from ctl.key_store import DEFAULT_SCOPES
from ctl.run_file import RunFile
from ctl.transfer.sections import id_of
from gateway.contracts import load_contracts
from gateway.transcoding.bindings import Binding, bindings_of
from tests.support.command import medforall
from tests.support.injection import PAYLOADS, SLEEP_S, StringField, http_call, string_fields
from tests.support.requests import filled
from tests.support.suites import home_of, imported_example

AT_ONCE = 12
FAULTS = frozenset((grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS))
# The clinic goes on working for as long as there is something left to attack.
_LAST = ("Deactivate", "SetClinicStatus", "Cancel", "Release", "MarkNoShow", "Complete")
_LATER = {"start": "2027-03-01T09:00", "end": "2027-03-01T17:00"}
_SCOPES = (*DEFAULT_SCOPES[Role.ADMIN], "read:audit", "break:glass", "override:booking")


@dataclass(frozen=True, slots=True)
class Attack:
    """One call with a payload in one of its strings."""

    upstream: str
    binding: Binding
    field: StringField
    payload: str
    request: Message
    token: str

    def __str__(self) -> str:
        return f"{self.binding.rpc.name}.{self.field} = {self.payload!r}"


@dataclass(frozen=True, slots=True)
class Target:
    """A clinic that nobody else uses, with one thing of each kind."""

    clinic: str
    ids: dict[int, str]
    admin: str
    platform: str


def token(suite: RunFile, *arguments: str, scopes: Sequence[str]) -> str:
    wanted = [part for scope in scopes for part in ("--scope", scope)]
    done = medforall("token", *arguments, *wanted, "--home", str(home_of(suite).path))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def target(suite: RunFile, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """The example's clinic under another id, with a patient and a visit."""
    clinic = imported_example(suite, "attacked-clinic", tmp_path_factory.mktemp("attacked"))
    admin = token(suite, "--clinic", clinic, "--role", "admin", scopes=_SCOPES)
    words = {
        options.RESOURCE_KIND_LOCATION: "main",
        options.RESOURCE_KIND_PROVIDER: "dr-lindqvist",
        options.RESOURCE_KIND_ROOM: "exam-1",
        options.RESOURCE_KIND_EQUIPMENT: "ecg",
        options.RESOURCE_KIND_SERVICE: "consultation",
        options.RESOURCE_KIND_CLOSURE: "christmas",
    }
    ids: dict[int, str] = {kind: id_of(word, clinic) for kind, word in words.items()}
    ids[options.RESOURCE_KIND_CLINIC] = clinic
    metadata = (("authorization", f"Bearer {admin}"),)
    with (
        grpc.insecure_channel(suite.grpc["booking"]) as booking,
        grpc.insecure_channel(suite.grpc["availability"]) as availability,
    ):
        directory = directory_pb2_grpc.DirectoryServiceStub(booking)
        for kind, word in (
            (options.RESOURCE_KIND_PATIENT, "Patient"),
            (options.RESOURCE_KIND_SERVICE_RULE, "ServiceRule"),
            (options.RESOURCE_KIND_WINDOW, "Window"),
            (options.RESOURCE_KIND_PREFERENCE, "Preference"),
        ):
            ids[kind] = str(uuid.uuid4())
            request: Any = filled(getattr(directory_pb2, f"Create{word}Request"), ids, _LATER)
            entity = next(field for field in request.DESCRIPTOR.fields if field.message_type is not None)
            getattr(request, entity.name).id = ids[kind]
            getattr(directory, f"Create{word}")(request, metadata=metadata)
        ids[options.RESOURCE_KIND_APPOINTMENT] = booked(
            availability_pb2_grpc.AvailabilityServiceStub(availability),
            booking_pb2_grpc.BookingServiceStub(booking),
            ids,
            metadata,
        )
    return Target(clinic, ids, admin, token(suite, "--role", "platform", scopes=("platform",)))


def booked(availability: Any, booking: Any, ids: dict[int, str], metadata: Any) -> str:
    """The id of a visit in the first free slot."""
    place: Any = {
        "clinic_id": ids[options.RESOURCE_KIND_CLINIC],
        "service_id": ids[options.RESOURCE_KIND_SERVICE],
        "location_id": ids[options.RESOURCE_KIND_LOCATION],
    }
    today = datetime.now(UTC).date()
    search = availability_pb2.SearchSlotsRequest(
        **place, start=f"{today + timedelta(days=2)}", end=f"{today + timedelta(days=16)}", limit=1
    )
    (slot,) = availability.SearchSlots(search, metadata=metadata).slots
    request = booking_pb2.CreateAppointmentRequest(
        **place,
        patient_id=ids[options.RESOURCE_KIND_PATIENT],
        provider_id=slot.provider.id,
        start=slot.start,
    )
    return str(booking.CreateAppointment(request, metadata=metadata).appointment.id)


def attacks(target: Target) -> Iterator[Attack]:
    """Every payload in every string of every call that has a route, calls that end things last."""
    contracts = load_contracts()
    upstreams = {contract.service.full_name: contract.upstream for contract in contracts}
    bindings = bindings_of([contract.service for contract in contracts])
    for binding in sorted(bindings, key=lambda one: one.rpc.name.startswith(_LAST)):
        new = message_factory.GetMessageClass(binding.request)
        key = target.admin if options.ROLE_ADMIN in binding.access.roles else target.platform
        for field in string_fields(binding.request):
            for payload in field.payloads:
                request = filled(new, target.ids, {})
                field.put(request, payload)
                upstream = upstreams[binding.service.full_name]
                yield Attack(upstream, binding, field, payload, request, key)


def odd_parameters(binding: Binding) -> list[str]:
    """The query parameters that are no strings: numbers, flags, and the words that sort and filter."""
    return [field.json_name for field in binding.query_fields if field.type != FieldDescriptor.TYPE_STRING]


async def at_once(calls: Iterator[Callable[[], Awaitable[None]]]) -> None:
    """Make the calls, a few at a time."""

    async def work() -> None:
        for call in calls:
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


def rows_of(suite: RunFile, clinics: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What the database holds of these clinics: themselves, and rows and a digest of them for each table."""
    tables = (
        "SELECT table_name FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        " AND column_name = 'clinic_id' AND table_name !~ '_p?[0-9]{4}|outbox|idempotency|audit' ORDER BY 1"
    )
    digest = (
        "SELECT %s, count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {} t"
        " WHERE clinic_id = ANY (%s)"
    )
    themselves = "SELECT id, name, status FROM clinic WHERE id = ANY (%s) ORDER BY id"
    with psycopg.connect(suite.database_url) as owner:
        found = owner.execute(themselves, (clinics,)).fetchall()
        for (name,) in owner.execute(tables).fetchall():
            statement = sql.SQL(digest).format(sql.Identifier(name))
            found += owner.execute(statement, (name, clinics)).fetchall()
    return found


@pytest.fixture
def unchanged(suite: RunFile, target: Target) -> Iterator[None]:
    """No row of another clinic is different afterwards, and every table is still there."""
    with psycopg.connect(suite.database_url) as owner:
        found = owner.execute("SELECT id FROM clinic WHERE id <> %s", (target.clinic,)).fetchall()
    others = [clinic for (clinic,) in found]
    before = rows_of(suite, others)
    assert len(before) > 10
    yield
    assert rows_of(suite, others) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("unchanged")
async def test_grpc_runs_no_sql_of_its_callers(suite: RunFile, target: Target) -> None:
    """Each payload in each string of each RPC: no fault, nothing waits as told, no other clinic's row changes."""
    wrong: list[str] = []
    channels = {name: grpc.aio.insecure_channel(address) for name, address in suite.grpc.items()}

    def call(attack: Attack) -> Callable[[], Awaitable[None]]:
        method: Any = channels[attack.upstream].unary_unary(
            attack.binding.grpc_path, request_serializer=lambda request: request.SerializeToString()
        )

        async def make() -> None:
            began_s = time.monotonic()
            try:
                await method(
                    attack.request, metadata=(("authorization", f"Bearer {attack.token}"),), timeout=SLEEP_S
                )
            except grpc.aio.AioRpcError as error:
                if error.code() in FAULTS:
                    wrong.append(f"{attack}: {error.code().name} {error.details()}")
            if time.monotonic() - began_s > SLEEP_S / 2:
                wrong.append(f"{attack}: took {time.monotonic() - began_s:.1f} s")

        return make

    made = list(attacks(target))
    assert len(made) > 2_000
    # A second route of an RPC is another way for HTTP alone.
    distinct = {(one.binding.grpc_path, str(one.field), one.payload): one for one in made}
    await at_once(map(call, distinct.values()))
    for channel in channels.values():
        await channel.close()
    assert wrong == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("unchanged")
async def test_rest_runs_no_sql_of_its_callers(suite: RunFile, target: Target) -> None:
    """The same through every route, and in parameters that are no strings: always an answer below 500, in time."""
    wrong: list[str] = []
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=suite.gateway_url, timeout=SLEEP_S, limits=limits) as client:

        def call(attack: Attack, odd: dict[str, str]) -> Callable[[], Awaitable[None]]:
            sent = http_call(attack.binding, attack.request, odd=odd)
            headers = {"authorization": f"Bearer {attack.token}", "content-type": "application/json"}

            async def make() -> None:
                answer = await client.request(sent.method, sent.target, content=sent.body, headers=headers)
                if answer.status_code >= 500 or answer.elapsed.total_seconds() > SLEEP_S / 2:
                    wrong.append(f"{attack} {odd}: {answer.status_code} {answer.text[:200]}")

            return make

        def calls() -> Iterator[Callable[[], Awaitable[None]]]:
            seen: set[str] = set()
            for number, attack in enumerate(attacks(target)):
                # Strings are handed on as they are: a third of the payloads for each, another third for the next.
                if number % 3 == 0:
                    yield call(attack, {})
                for name in odd_parameters(attack.binding):
                    if f"{attack.binding.template} {name}" not in seen:
                        seen.add(f"{attack.binding.template} {name}")
                        for payload in PAYLOADS:
                            yield call(attack, {name: payload})

        await at_once(calls())
    assert wrong == []


@pytest.mark.parametrize("payload", [payload for payload in PAYLOADS if "\x00" not in payload])
def test_what_looks_like_sql_is_stored_as_it_is(suite: RunFile, target: Target, payload: str) -> None:
    """A name and notes with a statement come back letter by letter, and a wildcard in a search finds nobody."""
    headers = {"authorization": f"Bearer {target.admin}"}
    base = f"{suite.gateway_url}/v1/clinics/{target.clinic}"
    wanted = {"name": f"Ann {payload}".strip(), "dob": "1980-04-30", "notes": payload}
    made = httpx.post(f"{base}/patients", json=wanted, headers=headers, timeout=20)
    assert made.status_code == 201, made.text
    patient = made.json()["patient"]
    assert (patient["name"], patient["notes"]) == (wanted["name"], payload)
    for wildcard in ("%%%", "___"):
        found = httpx.get(f"{base}/patients", params={"namePrefix": wildcard}, headers=headers, timeout=20)
        assert (found.status_code, found.json().get("patients", [])) in ((200, []), (400, []))
