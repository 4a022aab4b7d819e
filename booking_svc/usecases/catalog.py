"""All use cases of BookingService, built once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from booking_svc.usecases.alternatives import NearestSlots
from booking_svc.usecases.book import Booker
from booking_svc.usecases.change_notes import UpdateNotes
from booking_svc.usecases.confirm_hold import ConfirmHold
from booking_svc.usecases.get_appointment import GetAppointment
from booking_svc.usecases.list_appointments import ListAppointments
from booking_svc.usecases.mutation import Mutations
from booking_svc.usecases.release_hold import ReleaseHold
from booking_svc.usecases.renew_hold import RenewHold
from booking_svc.usecases.reschedule_appointment import RescheduleAppointment
from booking_svc.usecases.status_change import StatusChange
from scheduling.appointment import AppointmentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What the handlers call. `steps` are the status changes by where they lead."""

    mutations: Mutations
    book: Booker
    reschedule: RescheduleAppointment
    notes: UpdateNotes
    steps: Mapping[AppointmentStatus, StatusChange]
    renew_hold: RenewHold
    confirm_hold: ConfirmHold
    release_hold: ReleaseHold
    get: GetAppointment
    list: ListAppointments
    alternatives: NearestSlots
