"""What the booking benchmark runs on: embedded servers, one clinic with a lane for each client, and the service."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

import grpc
from medforall.booking.v1 import booking_pb2

from bench.lean_grpc import LeanChannel, Refused, head_of
from ctl.embedded import EmbeddedNats, EmbeddedPostgres, start_server
from ctl.ports import free_port
from tests.support.booking import BookingProcess, Keys, booking_processes, environment_of
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.practice import MONDAY, Practice, new_id, new_practice

LANES = 64
STEP_MIN = 30
_CREATE = "/medforall.booking.v1.BookingService/CreateAppointment"
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_PASSWORD = "bench-only"  # noqa: S105 - servers that live as long as the run


class Caller:
    """Books the practice's first service, as cheaply as a client can."""

    def __init__(self, channels: Sequence[LeanChannel], practice: Practice, head: bytes) -> None:
        self._channels = cycle(channels)
        self._open = channels
        self._practice = practice
        self._head = head

    async def create(self, start: datetime, *, patient: int, provider_id: str = "", room_id: str = "") -> str:
        """Book; return the status as gRPC names it."""
        practice = self._practice
        request = booking_pb2.CreateAppointmentRequest(
            clinic_id=practice.clinic,
            patient_id=practice.patients[patient],
            service_id=practice.service,
            provider_id=provider_id or practice.provider,
            location_id=practice.location,
            room_id=room_id,
            start=start.isoformat(),
            idempotency_key=new_id(),
        )
        try:
            await next(self._channels).call(self._head, request.SerializeToString(), timeout_s=30)
        except Refused as refusal:
            return _CODES[refusal.code]
        return "OK"

    def close(self) -> None:
        """Hang up."""
        for channel in self._open:
            channel.close()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run has."""

    database: MigratedDatabase
    keys: Keys
    practice: Practice
    process: BookingProcess
    environment: dict[str, str]
    folder: Path
    postgres_pid: int

    async def caller(self, processes: Sequence[BookingProcess] = ()) -> Caller:
        """A caller of these processes in turn, of the first one unless others are given."""
        channels = [await LeanChannel.connect(process.target) for process in processes or [self.process]]
        token = self.keys.token(self.practice.clinic)
        return Caller(channels, self.practice, head_of(_CREATE, [("authorization", f"Bearer {token}")]))

    def start(self, number: int) -> datetime:
        """The start of a lane's n-th booking; lanes have providers, rooms and patients of their own."""
        midnight = datetime(MONDAY.year, MONDAY.month, MONDAY.day, tzinfo=UTC)
        return midnight + timedelta(minutes=STEP_MIN * number)


@contextmanager
def running() -> Iterator[Bench]:
    """Servers, a clinic and the service."""
    with tempfile.TemporaryDirectory(prefix="bench-booking-") as name:
        folder, servers = Path(name), []
        try:
            postgres = EmbeddedPostgres(
                folder / "postgres", port=free_port(), password=_PASSWORD, log_path=folder / "postgres.log"
            )
            servers.append(started := start_server(postgres))
            nats = EmbeddedNats(
                folder / "nats",
                port=free_port(),
                monitor_port=free_port(),
                password=_PASSWORD,
                log_path=folder / "nats.log",
            )
            servers.append(start_server(nats))
            keys = Keys(folder / "keys")
            with migrated_database(postgres.url) as database:
                practice = new_practice(database, providers=LANES, rooms=LANES, patients=LANES)
                environment = environment_of(database, keys, nats.url)
                with booking_processes(environment, folder) as (process,):
                    assert started.pid is not None
                    yield Bench(database, keys, practice, process, environment, folder, started.pid)
        finally:
            for server in reversed(servers):
                server.stop()
