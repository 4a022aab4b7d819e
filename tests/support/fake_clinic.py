"""A directory and a list of appointments for a gateway under test: a real gRPC server with made-up data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import grpc.aio
from medforall.booking.v1 import appointment_pb2, booking_pb2, booking_pb2_grpc
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc, directory_types_pb2

from tests.support.realtime import Clinic, Visit

_ZONE = ZoneInfo("America/New_York")
_NAMES = (
    ("Dr. Maya Chen", "Family medicine"),
    ("Dr. Jonas Weber", "Cardiology"),
    ("Dr. Aisha Khan", "Pediatrics"),
)
_SERVICES = ("Consultation", "Check-up", "Follow-up")


@dataclass
class FakeClinic:
    """What the services would know."""

    clinic: Clinic
    visits: list[Visit] = field(default_factory=list)


class _Directory(directory_pb2_grpc.DirectoryServiceServicer):
    def __init__(self, known: FakeClinic) -> None:
        self._clinic = known.clinic

    async def GetClinic(self, request: Any, context: Any) -> Any:  # noqa: N802
        clinic = directory_types_pb2.Clinic(id=self._clinic.id, name="Harbor Family Clinic")
        return directory_pb2.GetClinicResponse(clinic=clinic)

    async def ListLocations(self, request: Any, context: Any) -> Any:  # noqa: N802
        place = directory_types_pb2.Location(
            id=self._clinic.location_id, name="Battery Park", timezone="America/New_York", active=True
        )
        return directory_pb2.ListLocationsResponse(locations=[place])

    async def ListProviders(self, request: Any, context: Any) -> Any:  # noqa: N802
        return directory_pb2.ListProvidersResponse(
            providers=[
                directory_types_pb2.Provider(id=id_, name=name, specialty=specialty, active=True)
                for id_, (name, specialty) in zip(self._clinic.provider_ids, _NAMES, strict=True)
            ]
        )

    async def ListServices(self, request: Any, context: Any) -> Any:  # noqa: N802
        return directory_pb2.ListServicesResponse(
            services=[
                directory_types_pb2.Service(id=id_, name=name, active=True)
                for id_, name in zip(self._clinic.service_ids, _SERVICES, strict=True)
            ]
        )

    async def ListRooms(self, request: Any, context: Any) -> Any:  # noqa: N802
        return directory_pb2.ListRoomsResponse(
            rooms=[
                directory_types_pb2.Room(id=id_, name=f"Room {number}", active=True)
                for number, id_ in enumerate(self._clinic.room_ids, 1)
            ]
        )


class _Booking(booking_pb2_grpc.BookingServiceServicer):
    def __init__(self, known: FakeClinic) -> None:
        self._known = known

    async def ListAppointments(self, request: Any, context: Any) -> Any:  # noqa: N802
        live = [visit for visit in self._known.visits if visit.version and visit.status != "canceled"]
        return booking_pb2.ListAppointmentsResponse(appointments=[_appointment(visit) for visit in live])


def _appointment(visit: Visit) -> appointment_pb2.Appointment:
    local = visit.start.astimezone(_ZONE)
    status: Any = appointment_pb2.AppointmentStatus.Value(f"APPOINTMENT_STATUS_{visit.status.upper()}")
    return appointment_pb2.Appointment(
        id=visit.id,
        clinic_id=visit.clinic.id,
        location_id=visit.clinic.location_id,
        provider_id=visit.clinic.provider_ids[visit.provider],
        room_id=visit.clinic.room_ids[visit.provider],
        service_id=visit.clinic.service_ids[visit.service],
        start=_text(local),
        end=_text(local + timedelta(minutes=30)),
        status=status,
        version=visit.version,
    )


def _text(local: datetime) -> str:
    return local.isoformat(timespec="seconds")


@asynccontextmanager
async def serving(known: FakeClinic, port: int) -> AsyncIterator[None]:
    """Serve meanwhile."""
    server = grpc.aio.server()
    directory_pb2_grpc.add_DirectoryServiceServicer_to_server(
        _Directory(known),  # type: ignore[abstract]
        server,
    )
    booking_pb2_grpc.add_BookingServiceServicer_to_server(
        _Booking(known),  # type: ignore[abstract]
        server,
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
