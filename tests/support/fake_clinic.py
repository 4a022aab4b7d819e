"""A clinic's services for a gateway under test: a real gRPC server with made-up data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import grpc.aio
from medforall.availability.v1 import availability_pb2, availability_pb2_grpc
from medforall.booking.v1 import appointment_pb2, booking_pb2, booking_pb2_grpc
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc, directory_types_pb2

from chassis.interceptors.errors import DETAILS_KEY, status_of
from scheduling.errors import DomainError, NotFound
from tests.support.realtime import Clinic, Visit

ZONE = ZoneInfo("America/New_York")
_NAMES = (
    ("Dr. Maya Chen", "Family medicine"),
    ("Dr. Jonas Weber", "Cardiology"),
    ("Dr. Aisha Khan", "Pediatrics"),
)
_SERVICES = ("Consultation", "Check-up", "Follow-up")
PATIENTS = ("Ada Byron", "Grace Murray", "Alan Mathison")


@dataclass
class FakeClinic:
    """What the services would know."""

    clinic: Clinic
    visits: list[Visit] = field(default_factory=list)
    # The location's own zone; empty leaves it to the clinic's, which is New York's.
    zone: str = ""
    # Of visits that are not half an hour long.
    minutes: dict[str, int] = field(default_factory=dict)
    # Providers whose home is another location.
    away: set[str] = field(default_factory=set)
    # When a provider works, and when it is taken: hours of a day in New York. None: nobody may know.
    hours: dict[str, tuple[int, int]] | None = None
    busy: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    # Days whose list of visits waits for a signal.
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    # Days whose visits were asked for.
    asked: set[str] = field(default_factory=set)
    # What the directory answers first, as often as there are entries.
    faults: list[grpc.StatusCode] = field(default_factory=list)
    # Visits that cannot be looked up at the moment, and those that somebody tried to.
    withheld: set[str] = field(default_factory=set)
    sought: set[str] = field(default_factory=set)
    # Patients that are not for the caller to see, and the ids of every question for patients.
    unseen: set[str] = field(default_factory=set)
    named: list[list[str]] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=lambda: list(_NAMES))


class _Directory(directory_pb2_grpc.DirectoryServiceServicer):
    def __init__(self, known: FakeClinic) -> None:
        self._known = known
        self._clinic = known.clinic

    async def GetClinic(self, request: Any, context: Any) -> Any:  # noqa: N802
        clinic = directory_types_pb2.Clinic(
            id=self._clinic.id, name="Harbor Family Clinic", default_timezone="America/New_York"
        )
        return directory_pb2.GetClinicResponse(clinic=clinic)

    async def ListLocations(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._known.faults:
            await context.abort(self._known.faults.pop(), "Not now.")
        place = directory_types_pb2.Location(
            id=self._clinic.location_id, name="Battery Park", timezone=self._known.zone, active=True
        )
        return directory_pb2.ListLocationsResponse(locations=[place])

    async def ListProviders(self, request: Any, context: Any) -> Any:  # noqa: N802
        return directory_pb2.ListProvidersResponse(
            providers=[
                directory_types_pb2.Provider(
                    id=id_,
                    name=name,
                    specialty=specialty,
                    active=True,
                    location_id=self._clinic.id if id_ in self._known.away else self._clinic.location_id,
                )
                for id_, (name, specialty) in zip(self._clinic.provider_ids, self._known.names, strict=True)
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

    async def BatchGetPatients(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._known.named.append(list(request.ids))
        for place, id_ in enumerate(request.ids):
            if id_ in self._known.unseen:
                await _refuse(context, NotFound("No such patient.", metadata={"place": str(place)}))
        return directory_pb2.BatchGetPatientsResponse(
            patients=[
                directory_types_pb2.Patient(id=id_, name=patient_name(self._clinic, id_))
                for id_ in request.ids
            ]
        )


def patient_name(clinic: Clinic, patient_id: str) -> str:
    """What a patient is called: the first ones by name, the others by number."""
    number = clinic.patient_ids.index(patient_id)
    return PATIENTS[number] if number < len(PATIENTS) else f"Patient {number}"


async def _refuse(context: Any, error: DomainError) -> None:
    status = status_of(error, "request")
    context.set_trailing_metadata(((DETAILS_KEY, status.SerializeToString()),))
    await context.abort(grpc.StatusCode.NOT_FOUND, status.message)


class _Booking(booking_pb2_grpc.BookingServiceServicer):
    def __init__(self, known: FakeClinic) -> None:
        self._known = known

    async def ListAppointments(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._known.asked.add(request.date)
        if request.date in self._known.gates:
            await self._known.gates[request.date].wait()
        found = [visit for visit in self._known.visits if visit.version and visit.status != "canceled"]
        return booking_pb2.ListAppointmentsResponse(
            appointments=[
                self._appointment(visit)
                for visit in found
                if visit.start.astimezone(ZONE).date().isoformat() == request.date
            ]
        )

    async def GetAppointment(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._known.sought.add(request.appointment_id)
        if request.appointment_id in self._known.withheld:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Not now.")
        visit = next(each for each in self._known.visits if each.id == request.appointment_id)
        return booking_pb2.GetAppointmentResponse(appointment=self._appointment(visit))

    def _appointment(self, visit: Visit) -> appointment_pb2.Appointment:
        local = visit.start.astimezone(ZONE)
        status: Any = appointment_pb2.AppointmentStatus.Value(f"APPOINTMENT_STATUS_{visit.status.upper()}")
        return appointment_pb2.Appointment(
            id=visit.id,
            clinic_id=visit.clinic.id,
            location_id=visit.clinic.location_id,
            patient_id=visit.clinic.patient_ids[visit.patient],
            provider_id=visit.clinic.provider_ids[visit.provider],
            room_id=visit.clinic.room_ids[visit.provider],
            service_id=visit.clinic.service_ids[visit.service],
            start=_text(local),
            end=_text(local + timedelta(minutes=self._known.minutes.get(visit.id, 30))),
            status=status,
            version=visit.version,
        )


class _Availability(availability_pb2_grpc.AvailabilityServiceServicer):
    def __init__(self, known: FakeClinic) -> None:
        self._known = known

    async def GetFreeBusy(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._known.hours is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Not now.")
        assert self._known.hours is not None
        works = self._known.hours.get(request.resource_id)
        return availability_pb2.GetFreeBusyResponse(
            open=[_interval(request.start, *works)] if works else [],
            busy=[
                availability_pb2.BusyInterval(interval=_interval(request.start, *taken), unit=1)
                for taken in self._known.busy.get(request.resource_id, [])
            ],
        )


def _interval(day: str, first_hour: int, last_hour: int) -> availability_pb2.LocalInterval:
    midnight = datetime.fromisoformat(day[:10]).replace(tzinfo=ZONE)
    return availability_pb2.LocalInterval(
        start=_text(midnight.replace(hour=first_hour)), end=_text(midnight.replace(hour=last_hour))
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
    availability_pb2_grpc.add_AvailabilityServiceServicer_to_server(
        _Availability(known),  # type: ignore[abstract]
        server,
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        for gate in known.gates.values():
            gate.set()
        await server.stop(None)
