"""A gateway on a real socket before real gRPC servers, whose handlers are written here."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from medforall.availability.v1 import availability_pb2, availability_pb2_grpc
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc

from chassis.auth.principal import Role
from chassis.auth.signing import SigningKey, generate_signing_key, public_jwks, sign_claims
from chassis.auth.verifier import build_verifier
from chassis.config import load
from chassis.grpc.context import CallContext, current_call
from chassis.grpc.server import AioServer, GrpcService, ServerParts
from chassis.metrics import build_metrics
from chassis.settings import AuthSettings, GrpcServerSettings, TlsSettings
from chassis.tracing import OFF
from gateway.settings import GatewaySettings
from gateway.wiring import assemble

CLINIC = "0190a000-0000-7000-8000-00000000000a"
OTHER_CLINIC = "0190a000-0000-7000-8000-00000000000b"
APPOINTMENT = "0190a000-0000-7000-8000-0000000000aa"
PATIENT = "0190a000-0000-7000-8000-0000000000bb"
PROVIDER = "0190a000-0000-7000-8000-0000000000cc"
SERVICE = "0190a000-0000-7000-8000-0000000000dd"
LOCATION = "0190a000-0000-7000-8000-0000000000ee"
PATH = f"/v1/clinics/{CLINIC}/appointments/{APPOINTMENT}"
LIST = f"/v1/clinics/{CLINIC}/appointments"
SCOPES = ["read:availability", "read:appointments", "write:appointments", "read:directory", "write:directory"]

# Made once: reading all authorities that the machine trusts is most of what a client takes, and none is asked.
_TRUST = ssl.create_default_context()

Handler = Callable[[Any], Awaitable[Message]]


@dataclass
class Services:
    """What the services behind the gateway answer, and what they were asked."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    requests: list[Message] = field(default_factory=list)
    calls: list[CallContext] = field(default_factory=list)
    target: str = ""

    def answers(self, rpc: str, reply: Message | Exception) -> None:
        """Let `rpc` answer with `reply`, or refuse with it."""

        async def handle(_: Message) -> Message:
            if isinstance(reply, Exception):
                raise reply
            return reply

        self.handlers[rpc] = handle

    def asked(self, rpc: str) -> bool:
        """Whether `rpc` was called."""
        return any(call.method.endswith(f"/{rpc}") for call in self.calls)

    def servicer(self, base: type) -> Any:
        """A servicer of the generated class `base` that asks `handlers`."""
        services = self

        def method(name: str) -> Any:
            async def serve(_: Any, request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
                services.requests.append(request)
                services.calls.append(current_call())
                handler = services.handlers.get(name)
                if handler is None:
                    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
                    raise AssertionError
                return await handler(request)

            return serve

        names = [name for name in vars(base) if name[0].isupper()]
        return type("Recorded", (base,), {name: method(name) for name in names})()


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    """The key that signs the tests' tokens."""
    return generate_signing_key()


@pytest.fixture(scope="session")
def jwks_file(signing_key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its public half, as the gateway and the services read it."""
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps(public_jwks([signing_key])))
    return path


@pytest.fixture
def token(signing_key: SigningKey) -> Callable[..., str]:
    """Signs a token; front desk of CLINIC unless told otherwise."""

    def make(
        role: Role = Role.FRONT_DESK, clinic_id: str = CLINIC, subject: str = "user-1", **claims: Any
    ) -> str:
        now_s = int(time.time())
        everything = {
            "iss": "medforall", "aud": "medforall", "iat": now_s, "exp": now_s + 600, "sub": subject,
            "role": str(role), "scopes": SCOPES, **({"clinic_id": clinic_id} if clinic_id else {}), **claims,
        }  # fmt: skip
        return sign_claims(signing_key, everything)

    return make


@pytest.fixture
async def services(jwks_file: Path) -> AsyncIterator[Services]:
    """A running gRPC server with the chassis around it, for all contracts."""
    services = Services()
    server = AioServer(
        [
            GrpcService(
                booking_pb2.DESCRIPTOR.services_by_name["BookingService"],
                booking_pb2_grpc.add_BookingServiceServicer_to_server,
                services.servicer(booking_pb2_grpc.BookingServiceServicer),
            ),
            GrpcService(
                availability_pb2.DESCRIPTOR.services_by_name["AvailabilityService"],
                availability_pb2_grpc.add_AvailabilityServiceServicer_to_server,
                services.servicer(availability_pb2_grpc.AvailabilityServiceServicer),
            ),
            GrpcService(
                directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"],
                directory_pb2_grpc.add_DirectoryServiceServicer_to_server,
                services.servicer(directory_pb2_grpc.DirectoryServiceServicer),
            ),
        ],
        ServerParts(
            settings=load(GrpcServerSettings, {}),
            tls=TlsSettings(),
            verifier=build_verifier(load(AuthSettings, {"MEDFORALL_JWKS": str(jwks_file)})),
            metrics=build_metrics(),
            tracing=OFF,
            drain_ms=1_000,
        ),
    )
    await server.start()
    services.target = server.target
    try:
        yield services
    finally:
        await server.stop()


StartGateway = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def start_gateway(
    services: Services, jwks_file: Path, redis_url: str, token: Callable[..., str]
) -> AsyncIterator[StartGateway]:
    """Starts a gateway with these settings beside the usual ones; returns a client that carries a token."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**variables: str) -> httpx.AsyncClient:
            environ = {
                "MEDFORALL_HTTP_LISTEN": "127.0.0.1:0",
                "MEDFORALL_REDIS_URL": redis_url,
                # Gateways, callers and services share one loop here: it may be late when Redis is not.
                "MEDFORALL_REDIS_TIMEOUT_MS": "10000",
                "MEDFORALL_REDIS_CONNECT_TIMEOUT_MS": "10000",
                "MEDFORALL_JWKS": str(jwks_file),
                "MEDFORALL_RATE_LIMIT": "off",
                "MEDFORALL_DRAIN_MS": "2000",
                **{
                    f"MEDFORALL_{name}_TARGET": services.target
                    for name in ("BOOKING", "AVAILABILITY", "REALTIME")
                },
                **variables,
            }
            gateway = assemble(load(GatewaySettings, environ))
            await gateway.process.start()
            stack.push_async_callback(gateway.process.stop)
            client = httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{gateway.server.port}",
                headers={"authorization": f"Bearer {token()}"},
                timeout=20,
                verify=_TRUST,
            )
            return await stack.enter_async_context(client)

        yield start


@pytest.fixture
async def client(start_gateway: StartGateway) -> httpx.AsyncClient:
    """A client of a gateway with usual settings and no rate limits."""
    return await start_gateway()
