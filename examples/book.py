"""Search, book and cancel with the generated gRPC client.

Reads the addresses and the token that `medforall env` prints. Run it as `.venv/bin/python examples/book.py`.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from medforall.availability.v1 import availability_pb2 as availability
from medforall.availability.v1 import availability_pb2_grpc
from medforall.booking.v1 import booking_pb2 as booking
from medforall.booking.v1 import booking_pb2_grpc

DEADLINE_S = 10


def open_channel(target: str) -> grpc.Channel:
    """A channel; with the client certificate that `medforall env` names when the suite speaks TLS."""
    if "CA_FILE" not in os.environ:
        return grpc.insecure_channel(target)
    files = (os.environ[name] for name in ("CA_FILE", "CLIENT_KEY_FILE", "CLIENT_CERT_FILE"))
    return grpc.secure_channel(
        target, grpc.ssl_channel_credentials(*(Path(file).read_bytes() for file in files))
    )


def credentials() -> tuple[tuple[str, str]]:
    """Metadata that every call carries."""
    return (("authorization", f"Bearer {os.environ['TOKEN']}"),)


def first_slot(stub: availability_pb2_grpc.AvailabilityServiceStub) -> availability.SearchSlotsResponse:
    """The earliest slots of the next two weeks."""
    today = datetime.now(UTC).date()
    request = availability.SearchSlotsRequest(
        clinic_id=os.environ["CLINIC"],
        location_id=os.environ["LOCATION"],
        service_id=os.environ["SERVICE"],
        start=(today + timedelta(days=1)).isoformat(),
        end=(today + timedelta(days=15)).isoformat(),
        patient_id=os.environ["PATIENT"],
        order_by=availability.SLOT_ORDER_TIME,
        limit=1,
    )
    return stub.SearchSlots(request, metadata=credentials(), timeout=DEADLINE_S)


def main() -> None:
    """Book the first free slot, then give it back."""
    with (
        open_channel(os.environ["AVAILABILITY_GRPC"]) as search_channel,
        open_channel(os.environ["BOOKING_GRPC"]) as booking_channel,
    ):
        found = first_slot(availability_pb2_grpc.AvailabilityServiceStub(search_channel))
        slot = found.slots[0]
        print(f"first of {found.metadata.total_slots} slots: {slot.start} with {slot.provider.name}")
        bookings = booking_pb2_grpc.BookingServiceStub(booking_channel)
        created = bookings.CreateAppointment(
            booking.CreateAppointmentRequest(
                clinic_id=os.environ["CLINIC"],
                location_id=slot.location_id,
                patient_id=os.environ["PATIENT"],
                service_id=os.environ["SERVICE"],
                provider_id=slot.provider.id,
                start=slot.start,
                idempotency_key=str(uuid.uuid4()),
            ),
            metadata=credentials(),
            timeout=DEADLINE_S,
        )
        print(f"booked {created.appointment.id} in room {created.appointment.room_id}")
        canceled = bookings.CancelAppointment(
            booking.CancelAppointmentRequest(
                clinic_id=os.environ["CLINIC"],
                appointment_id=created.appointment.id,
                etag=created.appointment.etag,
                reason="only trying",
                idempotency_key=str(uuid.uuid4()),
            ),
            metadata=credentials(),
            timeout=DEADLINE_S,
        )
        print(f"canceled, version {canceled.appointment.version}")


if __name__ == "__main__":
    main()
