"""availability_svc inside a test's own loop, with clients for it and events to feed it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc.aio
from medforall.availability.v1 import availability_pb2_grpc
from nats.aio.client import Client

from availability_svc.projection.worker import ProjectionWorker
from availability_svc.rpc.availability import AvailabilityServicer
from availability_svc.settings import AvailabilitySettings
from availability_svc.usecases.reading import Reader
from availability_svc.wiring import assemble
from chassis.auth.principal import Role
from chassis.auth.signing import SigningKey, sign_token
from chassis.grpc.server import ThreadsServer

SCOPES = ("read:availability",)


@dataclass(slots=True)
class Running:
    """A service that runs, and a stub that may call it."""

    stub: Any
    reader: Reader
    worker: ProjectionWorker
    channel: grpc.aio.Channel


@asynccontextmanager
async def running(settings: AvailabilitySettings) -> AsyncIterator[Running]:
    """Run the service until the block ends."""
    process = assemble(settings)
    await process.start()
    server = next(part for part in process._services if isinstance(part, ThreadsServer))
    worker = next(part for part in process._services if isinstance(part, ProjectionWorker))
    servicer = server._services[0].servicer
    assert isinstance(servicer, AvailabilityServicer)
    channel = grpc.aio.insecure_channel(server.target)
    try:
        yield Running(
            availability_pb2_grpc.AvailabilityServiceStub(channel), servicer._reader, worker, channel
        )
    finally:
        await channel.close()
        await process.stop()


def metadata(
    signing: SigningKey, clinic_id: str, role: Role = Role.FRONT_DESK, **claims: Any
) -> tuple[tuple[str, str], ...]:
    """What a caller of a clinic sends along."""
    token = sign_token(
        signing,
        subject="tester",
        role=role,
        now_s=int(time.time()),
        ttl_s=600,
        clinic_id=clinic_id,
        scopes=SCOPES,
        **claims,
    )
    return (("authorization", f"Bearer {token}"),)


async def publish(
    nats_url: str, events: Mapping[str, bytes], subject: str = "medforall.appointment.test.created"
) -> None:
    """Publish events as the relay does; `events` is by message id."""
    client = Client()
    await client.connect(nats_url)
    try:
        stream = client.jetstream()
        for message_id, data in events.items():
            await stream.publish(subject, data, headers={"Nats-Msg-Id": message_id})
    finally:
        await client.close()
