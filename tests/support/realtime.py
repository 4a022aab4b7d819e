"""A realtime suite for tests: NATS of its own, realtime_svc and gateway as processes, and made-up events."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import nats
import nats.aio.client
import uuid_utils
from medforall.events.v1 import events_pb2 as events
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect

from chassis.auth.principal import Role
from chassis.auth.signing import generate_signing_key, save_signing_key, sign_token
from chassis.streams import APPOINTMENTS, DIRECTORY
from ctl.embedded import EmbeddedNats, start_server
from ctl.ports import free_port
from ctl.processes import ManagedProcess, ProcessSpec
from ctl.readiness import grpc_serving, http_ok
from tests.support.event_contract import check_told

ROOT = Path(__file__).resolve().parents[2]
SCOPES = ("read:appointments",)


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


class Clinic:
    """Made-up ids of one clinic, in America/New_York."""

    def __init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.location_id = str(uuid.uuid4())
        self.provider_ids = [str(uuid.uuid4()) for _ in range(3)]
        self.patient_ids = [str(uuid.uuid4()) for _ in range(3)]
        self.service_ids = [str(uuid.uuid4()) for _ in range(3)]
        self.room_ids = [str(uuid.uuid4()) for _ in range(3)]


@dataclass
class Visit:
    """An appointment as events tell of it."""

    clinic: Clinic
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int = 0
    provider: int = 0
    patient: int = 0
    service: int = 0
    start: datetime = datetime(2026, 2, 20, 14, 0, tzinfo=UTC)
    status: str = "scheduled"
    event_ids: list[str] = field(default_factory=list)
    last: events.Event | None = None

    def snapshot(self) -> events.AppointmentSnapshot:
        """Its ids and times now."""
        snapshot = events.AppointmentSnapshot(
            appointment_id=self.id,
            location_id=self.clinic.location_id,
            provider_id=self.clinic.provider_ids[self.provider],
            room_id=self.clinic.room_ids[self.provider],
            service_id=self.clinic.service_ids[self.service],
            patient_id=self.clinic.patient_ids[self.patient],
            status=self.status,
            timezone="America/New_York",
            version=self.version,
        )
        snapshot.start_utc.FromDatetime(self.start)
        snapshot.end_utc.FromDatetime(self.start + timedelta(minutes=30))
        return snapshot

    def event(self, kind: str = "created", **changes: Any) -> events.Event:
        """The event of its next version, after `changes` of provider, patient, start or status."""
        before = self.snapshot() if self.version else None
        for name, value in changes.items():
            setattr(self, name, value)
        self.version += 1
        after = self.snapshot()
        event = events.Event(
            event_id=new_id(),
            clinic_id=self.clinic.id,
            aggregate_type="appointment",
            aggregate_id=self.id,
            aggregate_version=self.version,
            type=kind if "." in kind else f"appointment.{kind}",
        )
        event.occurred_at.GetCurrentTime()
        event.appointment.after.CopyFrom(after)
        if before is not None:
            event.appointment.before.CopyFrom(before)
        event.resources.append(self._claims(after, before))
        self.event_ids.append(event.event_id)
        self.last = event
        return event

    def _claims(
        self, after: events.AppointmentSnapshot, before: events.AppointmentSnapshot | None
    ) -> events.ResourceChange:
        change = events.ResourceChange(
            resource_id=after.provider_id, kind="provider", calendar_version=self.version
        )
        if after.status not in {"canceled", "released", "expired"}:
            change.claims.append(_interval(after))
        if before is not None:
            change.claims_before.append(_interval(before))
        return change


def _interval(snapshot: events.AppointmentSnapshot) -> events.ClaimedInterval:
    return events.ClaimedInterval(
        start_min=snapshot.start_utc.seconds // 60, end_min=snapshot.end_utc.seconds // 60, unit=1
    )


class Events:
    """Publishes events as the outbox relay does."""

    def __init__(self, client: nats.aio.client.Client) -> None:
        self._client = client
        self._jetstream = client.jetstream()

    async def prepare(self) -> None:
        """Make the streams."""
        for spec in (APPOINTMENTS, DIRECTORY):
            await self._jetstream.add_stream(spec.config(1))

    async def publish(self, event: events.Event, *, again: bool = False) -> int:
        """Publish, and return the sequence; `again` goes around the window that catches duplicates."""
        kind = "appointment" if event.HasField("appointment") else "directory"
        last = event.type.rpartition(".")[2]
        headers = {} if again else {"Nats-Msg-Id": event.event_id}
        ack = await self._jetstream.publish(
            f"medforall.{kind}.{event.clinic_id}.{last}", event.SerializeToString(), headers=headers
        )
        return ack.seq

    async def purge(self, keep_after: int) -> None:
        """Let the appointments stream forget everything up to a sequence."""
        await self._jetstream.purge_stream(APPOINTMENTS.name, seq=keep_after + 1)

    async def remake(self) -> None:
        """Delete both streams and make them anew."""
        for spec in (APPOINTMENTS, DIRECTORY):
            await self._jetstream.delete_stream(spec.name)
        await self.prepare()


class RealtimeSuite:
    """NATS, realtime_svc and gateway on free ports; each can be killed and started again.

    Further instances are called `realtime_svc-2`, `gateway-2` and so on; every gateway knows all of realtime_svc.
    """

    def __init__(
        self,
        directory: Path,
        redis_url: str,
        settings: dict[str, str] | None = None,
        *,
        instances: int = 1,
        gateways: int = 1,
    ) -> None:
        self._directory = directory
        self._redis_url = redis_url
        self.settings = settings or {}
        self._key = generate_signing_key()
        self.jwks = directory / "jwks.json"
        save_signing_key(self._key, directory / "signing.json", self.jwks)
        self._token_file = directory / "gateway.token"
        self._token_file.write_text(
            self.token(Role.PLATFORM, clinic_id="", scopes=("connect:realtime",), subject="gateway")
        )
        self.nats = EmbeddedNats(
            directory / "nats",
            port=free_port(),
            monitor_port=free_port(),
            password="nats",
            log_path=directory / "nats.log",
        )
        self.realtime_targets = {
            name: f"127.0.0.1:{free_port()}" for name in _names("realtime_svc", instances)
        }
        self.http_ports = {name: free_port() for name in _names("gateway", gateways)}
        self._metrics_ports = {name: free_port() for name in (*self.realtime_targets, *self.http_ports)}
        self.processes: dict[str, ManagedProcess] = {}

    def token(
        self,
        role: Role = Role.FRONT_DESK,
        *,
        clinic_id: str,
        ttl_s: int = 3_600,
        issued_s_ago: int = 0,
        scopes: Sequence[str] = SCOPES,
        subject: str = "user-1",
        **ids: str,
    ) -> str:
        """A signed token."""
        return sign_token(
            self._key,
            subject=subject,
            role=role,
            now_s=int(time.time()) - issued_s_ago,
            ttl_s=ttl_s,
            clinic_id=clinic_id,
            scopes=scopes,
            **ids,
        )

    @property
    def realtime_target(self) -> str:
        """Where the first realtime_svc listens."""
        return self.realtime_targets["realtime_svc"]

    @property
    def http_port(self) -> int:
        """Where the first gateway listens."""
        return self.http_ports["gateway"]

    @property
    def ws_url(self) -> str:
        return self.ws_url_of("gateway")

    def ws_url_of(self, gateway: str) -> str:
        """A gateway's WebSocket."""
        return f"ws://127.0.0.1:{self.http_ports[gateway]}/v1/realtime/ws"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Start everything and wait until it serves."""
        self.processes["nats"] = start_server(self.nats)
        self._serve([*self.realtime_targets, *self.http_ports])

    def mend(self) -> None:
        """Start the services that are dead, and wait until they serve."""
        self._serve([name for name, process in self.processes.items() if not process.is_alive])

    def _serve(self, names: Sequence[str]) -> None:
        for name in names:
            self.restart(name)
        for name in names:
            self.processes[name].wait_ready()

    def restart(self, name: str) -> None:
        """Start a service (again); it is not waited for."""
        self.processes[name] = ManagedProcess(self._spec(name))
        self.processes[name].start()

    def kill(self, name: str) -> None:
        """kill -9."""
        self.processes[name].kill()

    def end(self, name: str) -> None:
        """SIGTERM, and wait until it has drained."""
        self.processes[name].stop()

    def stop(self) -> None:
        """Stop everything."""
        for process in reversed(list(self.processes.values())):
            process.stop()

    def _spec(self, name: str) -> ProcessSpec:
        common = {
            "MEDFORALL_ENVIRONMENT": "test",
            "MEDFORALL_REDIS_URL": self._redis_url,
            "MEDFORALL_NATS_URL": self.nats.url,
            "MEDFORALL_JWKS": str(self.jwks),
            "MEDFORALL_RATE_LIMIT": "off",
            "MEDFORALL_METRICS_LISTEN": f"127.0.0.1:{self._metrics_ports[name]}",
            **self.settings,
        }
        if name in self.http_ports:
            port = self.http_ports[name]
            common |= {
                "MEDFORALL_HTTP_LISTEN": f"127.0.0.1:{port}",
                "MEDFORALL_REALTIME_TARGET": f"ipv4:{','.join(self.realtime_targets.values())}",
                "MEDFORALL_REALTIME_TOKEN_FILE": str(self._token_file),
            }
            ready = lambda: http_ok(f"http://127.0.0.1:{port}/healthz")  # noqa: E731
        else:
            target = self.realtime_targets[name]
            common |= {"MEDFORALL_GRPC_LISTEN": target}
            ready = lambda: grpc_serving(target)  # noqa: E731
        return ProcessSpec(
            name=name,
            argv=[sys.executable, "-m", name.partition("-")[0]],
            env=common,
            cwd=ROOT,
            log_path=self._directory / f"{name}.log",
            is_ready=ready,
        )

    def metric(self, process: str, sample: str, **labels: str) -> float:
        """What a service has measured; 0 when it has not yet."""
        text = httpx.get(f"http://127.0.0.1:{self._metrics_ports[process]}/metrics", trust_env=False).text
        families = text_string_to_metric_families(text)
        return sum(
            found.value
            for family in families
            for found in family.samples
            if found.name == sample and labels.items() <= found.labels.items()
        )

    def log(self, name: str) -> str:
        """What a service has logged."""
        return (self._directory / f"{name}.log").read_text(errors="replace")

    @asynccontextmanager
    async def events(self) -> AsyncIterator[Events]:
        """A connection to publish with."""
        client = await nats.connect(self.nats.url)
        try:
            yield Events(client)
        finally:
            await client.close()


def _names(first: str, count: int) -> list[str]:
    return [first, *(f"{first}-{number}" for number in range(2, count + 1))]


class Client:
    """A WebSocket client that keeps everything it is told, and holds it against the AsyncAPI document."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[dict[str, Any]] = []

    async def say(self, **message: Any) -> None:
        """Send a message."""
        await self.connection.send(json.dumps(message))

    async def hear(self, type_: str | None = None, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """The next message, or the next of a type; all are kept in `received`."""
        async with asyncio.timeout(timeout_s):
            while True:
                message: dict[str, Any] = json.loads(await self.connection.recv())
                check_told(message, "websocket")
                self.received.append(message)
                if type_ is None or message["type"] == type_:
                    return message

    async def join(self, token: str, *channels: str, resume_from: str | None = None) -> dict[str, Any]:
        """Authenticate and subscribe; the `subscribed` message."""
        await self.say(type="authenticate", token=token)
        resume = {"resumeFrom": resume_from} if resume_from else {}
        await self.say(type="subscribe", channels=channels, **resume)
        await self.hear("authenticated")
        return await self.hear("subscribed")


@asynccontextmanager
async def client(suite: RealtimeSuite, *, gateway: str = "gateway", **options: Any) -> AsyncIterator[Client]:
    """A connected client that is not authenticated yet."""
    async with connect(suite.ws_url_of(gateway), compression=None, proxy=None, **options) as connection:
        yield Client(connection)


@asynccontextmanager
async def joined(
    suite: RealtimeSuite, token: str, *channels: str, gateway: str = "gateway", **options: Any
) -> AsyncIterator[Client]:
    """A client that has joined channels."""
    async with client(suite, gateway=gateway) as new:
        await new.join(token, *channels, **options)
        yield new
