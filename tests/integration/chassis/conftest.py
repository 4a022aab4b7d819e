"""A service of every kind of method, served by both kinds of server, and callers with tokens."""

import importlib.util
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
import pytest

from chassis.auth.jwks import KeyStore
from chassis.auth.revocations import Revoked
from chassis.auth.signing import SigningKey, generate_signing_key, public_jwks, sign_token
from chassis.auth.verifier import TokenVerifier
from chassis.config import load
from chassis.grpc.server import AioServer, GrpcService, ServerParts, ThreadsServer, aio_server, threads_server
from chassis.metrics import Metrics
from chassis.settings import GrpcServerSettings, TlsSettings
from chassis.tracing import OFF
from tests.integration.chassis.echo import AioEcho, Gate, ThreadsEcho

ROOT = Path(__file__).parents[3]
CLINIC = "018f0000-0000-7000-8000-000000000001"
OTHER_CLINIC = "018f0000-0000-7000-8000-000000000002"


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The generated module of echo.proto, with the service stubs in it."""
    import grpc_tools  # noqa: PLC0415 - only this fixture compiles
    from grpc_tools import protoc  # noqa: PLC0415

    out = tmp_path_factory.mktemp("echo")
    here = Path(__file__).parent
    code = protoc.main(
        [
            "protoc",
            f"-I{here}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            f"-I{ROOT / 'protos'}",
            f"-I{ROOT / 'third_party' / 'protos'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            str(here / "echo.proto"),
        ]
    )
    assert code == 0
    messages = _import("echo_pb2", out)
    messages.stubs = _import("echo_pb2_grpc", out)  # type: ignore[attr-defined]
    return messages


def _import(name: str, folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def signing() -> SigningKey:
    """The key that signs this session's tokens."""
    return generate_signing_key("EdDSA", kid="test-key")


@pytest.fixture(scope="session")
def token(signing: SigningKey) -> Callable[..., str]:
    """Makes tokens; an admin's of CLINIC with scope echo:read unless told otherwise."""

    def make(**changes: Any) -> str:
        claims: dict[str, Any] = {
            "subject": "user-1",
            "role": "admin",
            "clinic_id": CLINIC,
            "scopes": ["echo:read"],
            "now_s": int(time.time()),
            "ttl_s": 300,
        }
        return sign_token(signing, **{**claims, **changes})

    return make


@dataclass
class Served:
    """A running server, and what a test turns on it."""

    server: AioServer | ThreadsServer
    channel: grpc.aio.Channel
    stub: Any
    gate: Gate
    metrics: Metrics
    jwks: dict[str, Any] = field(default_factory=dict)
    reads: list[float] = field(default_factory=list)
    revoked: Revoked = field(default_factory=Revoked)


def make_parts(
    jwks: Callable[[], bytes],
    *,
    tls: TlsSettings | None = None,
    revoked: Revoked | None = None,
    **changes: Any,
) -> ServerParts:
    settings = replace(load(GrpcServerSettings, {}), **changes)
    verifier = TokenVerifier(
        KeyStore(jwks),
        issuer="medforall",
        audience="medforall",
        leeway_s=0,
        is_revoked=(revoked or Revoked()).holds,
    )
    return ServerParts(
        settings=settings,
        tls=tls or TlsSettings(),
        verifier=verifier,
        metrics=Metrics(),
        tracing=OFF,
        drain_ms=3_000,
    )


@pytest.fixture(params=["aio", "threads"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two servers a test runs against; every test runs against both."""
    return str(request.param)


@pytest.fixture
async def serve(kind: str, echo: ModuleType, signing: SigningKey) -> AsyncIterator[Callable[..., Any]]:
    """Starts servers of the kind under test, and stops them."""
    running: list[Served] = []

    async def start(**changes: Any) -> Served:
        jwks = public_jwks([signing])
        reads: list[float] = []

        def read() -> bytes:
            reads.append(time.monotonic())
            return json.dumps(jwks).encode()

        gate, revoked = Gate(), Revoked()
        parts = make_parts(read, revoked=revoked, **changes)
        make, servicer = (aio_server, AioEcho) if kind == "aio" else (threads_server, ThreadsEcho)
        service = GrpcService(
            echo.DESCRIPTOR.services_by_name["EchoService"],
            echo.stubs.add_EchoServiceServicer_to_server,
            servicer(echo, gate),
        )
        server = make([service], parts)
        await server.start()
        channel = grpc.aio.insecure_channel(server.target, options=[("grpc.use_local_subchannel_pool", 1)])
        stub = echo.stubs.EchoServiceStub(channel)
        served = Served(server, channel, stub, gate, parts.metrics, jwks, reads, revoked)
        running.append(served)
        return served

    yield start
    for served in running:
        served.gate.open()
        await served.channel.close()
        await served.server.stop()


@pytest.fixture
async def served(serve: Callable[..., Any]) -> Served:
    """A server with ordinary settings."""
    started: Served = await serve()
    return started
