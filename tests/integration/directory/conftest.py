"""A booking process with an empty clinic, and callers of its DirectoryService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
import pytest
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc, directory_types_pb2

from chassis.auth.principal import Role
from ctl.key_store import DEFAULT_SCOPES
from tests.support.booking import Keys
from tests.support.booking_suite import Suite, booking_suite
from tests.support.practice import Practice, at, new_id
from tests.support.servers import Servers

__all__ = ["ASA", "Directory", "Suite", "directory", "practice", "suite", "token_of"]

ASA: Final[dict[str, Any]] = {
    "name": "Åsa Lindqvist-Meyer",
    "dob": "1984-05-06",
    "contact": directory_types_pb2.Contact(
        phone="+46 70 123 45 67", email="Asa@Example.org", preferred_method="sms"
    ),
    "notes": "prefers mornings",
}
"""A patient of whom everything is known."""


@pytest.fixture(scope="session")
def shared_suite(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """What the modules of this folder and worker share."""
    with booking_suite(servers, tmp_path_factory.mktemp("directory")) as made:
        yield made


@pytest.fixture(scope="module")
def suite(shared_suite: Suite) -> Suite:
    """The worker's booking process, or that of a module which has a fixture of this name."""
    return shared_suite


@pytest.fixture
def practice(suite: Suite) -> Practice:
    return suite.practice()


@dataclass(slots=True)
class Directory:
    """A caller of one clinic's directory."""

    channel: grpc.aio.Channel
    clinic: str
    token: str

    async def call(self, method: str, **fields: Any) -> Any:
        """Call an RPC; mutating ones get a fresh key unless one is given."""
        stub = directory_pb2_grpc.DirectoryServiceStub(self.channel)
        return await self._send(stub, directory_pb2, method, fields)

    async def booking(self, method: str, **fields: Any) -> Any:
        """Call BookingService of the same process."""
        return await self._send(
            booking_pb2_grpc.BookingServiceStub(self.channel), booking_pb2, method, fields
        )

    async def visit(self, practice: Practice, patient_id: str, hour: int = 10) -> Any:
        """Book the practice's service with its provider; the appointment."""
        made = await self.booking(
            "CreateAppointment",
            patient_id=patient_id,
            service_id=practice.service,
            provider_id=practice.provider,
            location_id=practice.location,
            start=at(hour),
        )
        return made.appointment

    async def _send(self, stub: Any, module: Any, method: str, fields: dict[str, Any]) -> Any:
        request_type = getattr(module, f"{method}Request")
        names = request_type.DESCRIPTOR.fields_by_name
        if "idempotency_key" in names:
            fields.setdefault("idempotency_key", new_id())
        if "clinic_id" in names:
            fields.setdefault("clinic_id", self.clinic)
        metadata = [("authorization", f"Bearer {self.token}")]
        return await getattr(stub, method)(request_type(**fields), metadata=metadata, timeout=10)

    async def add(self, word: str, **fields: Any) -> Any:
        """Create an entity and return it."""
        field = "".join(f"_{c.lower()}" if c.isupper() else c for c in word).lstrip("_")
        message = getattr(directory_types_pb2, word)(**fields)
        return getattr(await self.call(f"Create{word}", **{field: message}), field)


@pytest.fixture
async def directory(suite: Suite, practice: Practice) -> AsyncIterator[Directory]:
    """An admin of the practice."""
    async with grpc.aio.insecure_channel(suite.process.target) as channel:
        yield Directory(channel, practice.clinic, token_of(suite.keys, practice.clinic, Role.ADMIN))


def token_of(keys: Keys, clinic: str, role: Role, **claims: Any) -> str:
    """A token with the role's usual scopes."""
    return keys.token(clinic, role.value, scopes=DEFAULT_SCOPES[role], **claims)
