"""Booking processes on real servers, and who calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
from medforall.booking.v1 import booking_pb2 as pb
from medforall.booking.v1 import booking_pb2_grpc

from chassis.auth.signing import SigningKey, generate_signing_key, public_jwks, sign_token
from chassis.master_keys import create_master_key_file
from ctl.ports import free_port
from ctl.readiness import grpc_serving
from tests.support.databases import MigratedDatabase
from tests.support.practice import Practice, new_id
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
ALL_SCOPES = ("read:appointments", "write:appointments", "override:booking", "read:phi")


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

    def metrics(self) -> str:
        """What it tells Prometheus."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            return str(answer.read().decode())

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


def details_of(error: grpc.RpcError) -> dict[str, Any]:
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
    raw = dict(cast("Any", error).trailing_metadata() or ())["grpc-status-details-bin"]
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
