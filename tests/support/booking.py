"""Booking processes on real servers, and a clinic made to measure for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psycopg
from medforall.booking.v1 import booking_pb2 as pb
from medforall.booking.v1 import booking_pb2_grpc
from psycopg.types.json import Jsonb

from chassis.auth.signing import SigningKey, generate_signing_key, public_jwks, sign_token
from chassis.master_keys import create_master_key_file
from ctl.ports import free_port
from ctl.readiness import grpc_serving
from tests.support.clinic_rows import insert
from tests.support.databases import MigratedDatabase
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
ALL_SCOPES = ("read:appointments", "write:appointments", "override:booking", "read:phi")

# A Monday, far enough ahead that no test ever finds it in the past, and near enough to be booked.
MONDAY = date.today() + timedelta(days=7 - date.today().weekday() + 7)  # noqa: DTZ011 - only the day matters


def new_id() -> str:
    return str(uuid.uuid4())


@dataclass(slots=True)
class Practice:
    """A clinic in UTC with one location, open Monday to Sunday 00:00 to 24:00 unless a test says otherwise."""

    owner_url: str
    clinic: str = field(default_factory=new_id)
    location: str = field(default_factory=new_id)
    zone: str = "UTC"
    providers: list[str] = field(default_factory=list)
    rooms: list[str] = field(default_factory=list)
    equipment: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)

    @property
    def service(self) -> str:
        return self.services[0]

    @property
    def provider(self) -> str:
        return self.providers[0]

    def add_provider(self, owner: psycopg.Connection[Any], *, hours: tuple[int, int] = (0, 24)) -> str:
        provider = self._resource(owner, "provider")
        insert(owner, "provider", clinic_id=self.clinic, id=provider, name="Dr.", location_id=self.location)
        first, last = hours
        start = datetime(2024, 1, 1, first)  # noqa: DTZ001 - windows are local
        insert(
            owner,
            "provider_availability",
            clinic_id=self.clinic,
            id=new_id(),
            provider_id=provider,
            kind="available",
            start_local=start,
            end_local=start + timedelta(hours=last - first),
            recurrence_rule="FREQ=DAILY",
        )
        self.providers.append(provider)
        return provider

    def add_room(self, owner: psycopg.Connection[Any], **columns: object) -> str:
        room = self._resource(owner, "room")
        insert(
            owner, "room", clinic_id=self.clinic, id=room, location_id=self.location, name=room[:8], **columns
        )
        self.rooms.append(room)
        return room

    def add_equipment(
        self, owner: psycopg.Connection[Any], kind: str, quantity: int, **columns: object
    ) -> str:
        item = self._resource(owner, "equipment")
        insert(
            owner,
            "equipment",
            clinic_id=self.clinic,
            id=item,
            location_id=self.location,
            type=kind,
            name=kind,
            quantity=quantity,
            **columns,
        )
        self.equipment.append(item)
        return item

    def add_patients(self, owner: psycopg.Connection[Any], count: int) -> list[str]:
        ids = [new_id() for _ in range(count)]
        with owner.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO resource (clinic_id, id, kind) VALUES (%s, %s, 'patient')",
                [(self.clinic, found) for found in ids],
            )
            cursor.executemany(
                "INSERT INTO patient (clinic_id, id, name_encrypted) VALUES (%s, %s, 'sealed')",
                [(self.clinic, found) for found in ids],
            )
        self.patients += ids
        return ids

    def add_service(self, owner: psycopg.Connection[Any], **columns: object) -> str:
        service = new_id()
        values = {
            "default_duration_min": 30,
            "min_duration_min": 15,
            "max_duration_min": 120,
            "slot_step_min": 15,
        } | columns
        insert(owner, "service", clinic_id=self.clinic, id=service, name="Visit", **values)
        self.services.append(service)
        return service

    def add_rule(self, owner: psycopg.Connection[Any], rule_type: str, **payload: object) -> str:
        rule = new_id()
        insert(
            owner,
            "service_rule",
            clinic_id=self.clinic,
            id=rule,
            service_id=self.service,
            rule_type=rule_type,
            rule_payload=Jsonb(payload),
        )
        return rule

    def _resource(self, owner: psycopg.Connection[Any], kind: str) -> str:
        found = new_id()
        insert(owner, "resource", clinic_id=self.clinic, id=found, kind=kind)
        return found


def at(hour: int, minute: int = 0, day: date = MONDAY) -> str:
    """A local start of the practice."""
    return datetime(day.year, day.month, day.day, hour, minute).isoformat()  # noqa: DTZ001 - local


@dataclass(slots=True)
class Keys:
    """What signs tokens and wraps data keys."""

    folder: Path
    signing: SigningKey = field(default_factory=lambda: generate_signing_key("EdDSA"))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "jwks.json").write_text(json.dumps(public_jwks([self.signing])))
        create_master_key_file(self.folder / "master.key")

    @property
    def master(self) -> Path:
        return self.folder / "master.key"

    def token(self, clinic: str, role: str = "admin", subject: str = "tester", **claims: Any) -> str:
        return sign_token(
            self.signing,
            subject=subject,
            clinic_id=clinic,
            role=role,
            scopes=claims.pop("scopes", ALL_SCOPES),
            now_s=int(time.time()),
            ttl_s=3_600,
            **claims,
        )


def new_practice(
    database: MigratedDatabase,
    *,
    providers: int = 1,
    rooms: int = 1,
    patients: int = 10,
    zone: str = "UTC",
    service: Mapping[str, object] | None = None,
) -> Practice:
    """Commit a clinic."""
    practice = Practice(database.owner_url, zone=zone)
    with psycopg.connect(database.owner_url) as owner:
        insert(owner, "clinic", id=practice.clinic, name="Test", default_timezone=zone)
        insert(owner, "location", clinic_id=practice.clinic, id=practice.location, name="Here")
        practice.add_service(owner, **(service or {}))
        for _ in range(providers):
            practice.add_provider(owner)
        for _ in range(rooms):
            practice.add_room(owner)
        practice.add_patients(owner, patients)
    return practice


class BookingProcess:
    """One `python -m booking_svc`, or another service that listens for gRPC."""

    def __init__(self, environment: Mapping[str, str], log: Path, *, module: str = "booking_svc") -> None:
        self._module = module
        self.port, self.metrics_port = free_port(), free_port()
        self.target = f"127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            **environment,
            "MEDFORALL_GRPC_LISTEN": self.target,
            "MEDFORALL_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
        }
        self.log = log
        self.popen = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", self._module], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    def wait_serving(self, timeout_s: float = 30.0) -> None:
        def ready() -> bool:
            if self.popen.poll() is not None:
                raise AssertionError(f"{self._module} ended:\n{self.log.read_text()[-4000:]}")
            return grpc_serving(self.target)

        wait_until(ready, timeout_s=timeout_s, what="booking_svc")

    def restart(self, **environment: str) -> None:
        """Start it again on the same port after it died."""
        self.popen.wait(20)
        self._environment.update(environment)
        self.popen = self._start()
        self.wait_serving()

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


def environment_of(database: MigratedDatabase, keys: Keys, nats_url: str) -> dict[str, str]:
    """What a booking process needs."""
    return {
        "MEDFORALL_ENVIRONMENT": "test",
        "MEDFORALL_LOG_LEVEL": "warning",
        # Hundreds of callers at once, on a machine that other tests use too.
        "MEDFORALL_DATABASE_POOL_TIMEOUT_MS": "20000",
        "MEDFORALL_APP_DATABASE_URL": database.app_url,
        "MEDFORALL_WORKER_DATABASE_URL": database.worker_url,
        "MEDFORALL_NATS_URL": nats_url,
        "MEDFORALL_JWKS": str(keys.folder / "jwks.json"),
        "MEDFORALL_MASTER_KEY_FILE": str(keys.master),
    }


@contextmanager
def booking_processes(
    environment: Mapping[str, str], folder: Path, count: int = 1
) -> Iterator[list[BookingProcess]]:
    """Running processes, stopped at the end."""
    processes = [BookingProcess(environment, folder / f"booking-{n}.log") for n in range(count)]
    try:
        for process in processes:
            process.wait_serving()
        yield processes
    finally:
        for process in processes:
            process.stop()


class Client:
    """A caller of one clinic; spreads its calls over several processes."""

    def __init__(self, targets: Sequence[str], practice: Practice, token: str) -> None:
        # One connection carries at most a hundred calls at once.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.insecure_channel(target, options=options) for target in targets for _ in range(4)
        ]
        self.stubs = [booking_pb2_grpc.BookingServiceStub(channel) for channel in self._channels]
        self.practice = practice
        self.metadata = [("authorization", f"Bearer {token}")]
        self._calls = 0

    @property
    def stub(self) -> Any:
        self._calls += 1
        return self.stubs[self._calls % len(self.stubs)]

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

    async def call(self, method: str, timeout_s: float = 10.0, **fields: Any) -> Any:
        """Call an RPC of this clinic with a fresh idempotency key unless one is given."""
        request_type = getattr(pb, f"{method}Request")
        if "idempotency_key" in request_type.DESCRIPTOR.fields_by_name:
            fields.setdefault("idempotency_key", new_id())
        request = request_type(clinic_id=self.practice.clinic, **fields)
        return await getattr(self.stub, method)(request, metadata=self.metadata, timeout=timeout_s)

    async def create(self, start: str, *, patient: int = 0, **fields: Any) -> Any:
        """Book the practice's first service, provider and location unless told otherwise."""
        practice = self.practice
        wanted = {
            "patient_id": practice.patients[patient],
            "service_id": practice.service,
            "provider_id": practice.provider,
            "location_id": practice.location,
        } | fields
        return await self.call("CreateAppointment", start=start, **wanted)

    async def hold(self, start: str, **fields: Any) -> Any:
        """Hold a time of the practice's first service, provider and location."""
        practice = self.practice
        wanted = {
            "service_id": practice.service,
            "provider_id": practice.provider,
            "location_id": practice.location,
        } | fields
        return await self.call("CreateHold", start=start, **wanted)


def code_of(error: grpc.aio.AioRpcError) -> str:
    return error.code().name


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The error's details by type name: ErrorInfo, BadRequest, RetryInfo, BookingConflict."""
    from google.rpc import error_details_pb2  # noqa: PLC0415
    from google.rpc.status_pb2 import Status  # noqa: PLC0415
    from medforall.type.v1 import scheduling_pb2  # noqa: PLC0415

    known = [
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.RetryInfo,
        scheduling_pb2.BookingConflict,
    ]
    raw = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    found: dict[str, Any] = {}
    for detail in Status.FromString(raw).details:
        for cls in known:
            if detail.Is(cls.DESCRIPTOR):
                found[cls.DESCRIPTOR.name] = message = cls()
                detail.Unpack(message)
    return found


def reason_of(error: grpc.aio.AioRpcError) -> str:
    reason: str = details_of(error)["ErrorInfo"].reason
    return reason


async def tried(call: Any) -> tuple[Any, str]:
    """The reply and `OK`, or None with the code and reason of the failure."""
    try:
        return await call, "OK"
    except grpc.aio.AioRpcError as error:
        return None, f"{code_of(error)} {reason_of(error)}" if error.trailing_metadata() else code_of(error)


async def outcome(call: Any) -> str:
    """`OK`, or the code and reason of the failure."""
    return (await tried(call))[1]


OVERLAPS = """
SELECT count(*) FROM claim a JOIN claim b ON a.clinic_id = b.clinic_id AND a.resource_id = b.resource_id
    AND a.unit = b.unit AND a.appointment_id < b.appointment_id AND a.during && b.during
"""


def query(url: str, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as owner:
        return owner.execute(sql, parameters).fetchall()


def invariants(database: MigratedDatabase) -> None:
    """Nothing overlaps, nothing live lacks its claims, no event is missing or out of order."""
    assert query(database.owner_url, OVERLAPS) == [(0,)]
    live = "('held','scheduled','confirmed','checked_in','in_progress')"
    assert (
        query(
            database.owner_url,
            f"""SELECT a.id FROM appointment a WHERE a.status IN {live} AND NOT EXISTS (
            SELECT FROM claim c WHERE c.appointment_id = a.id AND c.resource_id = a.provider_id)""",
        )
        == []
    )
    assert (
        query(
            database.owner_url,
            """SELECT c.appointment_id FROM claim c JOIN appointment a ON a.id = c.appointment_id
           WHERE a.status IN ('canceled','released','expired')""",
        )
        == []
    )
    assert (
        query(
            database.owner_url,
            """SELECT aggregate_id FROM (
               SELECT aggregate_id, aggregate_version,
                      row_number() OVER (PARTITION BY aggregate_id ORDER BY id) AS place
               FROM outbox_event WHERE aggregate_type = 'appointment') AS numbered
           WHERE aggregate_version <> place""",
        )
        == []
    )
    assert (
        query(
            database.owner_url,
            """SELECT a.id FROM appointment a
               LEFT JOIN appointment_ref r ON r.id = a.id AND r.start_ts_utc = a.start_ts_utc
               WHERE r.id IS NULL""",
        )
        == []
    )


def deadlocks(database: MigratedDatabase) -> int:
    """How many deadlocks the database has counted; waits until its statistics are in."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("SELECT pg_stat_force_next_flush()")
        row = owner.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        return int(row[0]) if row else 0
