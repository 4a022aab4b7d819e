"""BookingService: each handler turns its request into a command, and has it run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from medforall.booking.v1 import booking_pb2 as pb
from medforall.booking.v1 import booking_pb2_grpc

from booking_svc.model import Caller, Conflicts, Outcome
from booking_svc.rpc import requests
from booking_svc.rpc.replies import AnswerCodec, appointment_message, conflict_message, may_read_phi
from booking_svc.store.session import Session
from booking_svc.usecases.catalog import UseCases
from booking_svc.usecases.commands import Book, ChangeNotes, ChangeStatus, Reschedule
from booking_svc.usecases.mutation import Alternatives, Mutation
from scheduling.appointment import AppointmentStatus
from scheduling.errors import DomainError, Invalid

AnswerT = TypeVar("AnswerT", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]
Work = Callable[[Session], Awaitable[Outcome]]


class BookingServicer(booking_pb2_grpc.BookingServiceServicer):
    """The contract's RPCs. The interceptors have checked token, role, scopes and shape."""

    def __init__(self, usecases: UseCases) -> None:
        self._usecases = usecases

    async def CreateAppointment(
        self, request: pb.CreateAppointmentRequest, context: Context
    ) -> pb.CreateAppointmentResponse:
        caller = requests.caller_of(request)
        return await self._book(
            request, pb.CreateAppointmentResponse, requests.create_appointment(request, caller)
        )

    async def CreateHold(self, request: pb.CreateHoldRequest, context: Context) -> pb.CreateHoldResponse:
        caller = requests.caller_of(request)
        return await self._book(request, pb.CreateHoldResponse, requests.create_hold(request, caller))

    async def GetAppointment(
        self, request: pb.GetAppointmentRequest, context: Context
    ) -> pb.GetAppointmentResponse:
        caller = requests.caller_of(request)
        visit = await self._usecases.get(requests.get_appointment(request, caller))
        with_phi = may_read_phi(caller.principal)
        return pb.GetAppointmentResponse(appointment=appointment_message(visit, with_phi=with_phi))

    async def ListAppointments(
        self, request: pb.ListAppointmentsRequest, context: Context
    ) -> pb.ListAppointmentsResponse:
        caller = requests.caller_of(request)
        page = await self._usecases.list(requests.list_appointments(request, caller))
        with_phi = may_read_phi(caller.principal)
        return pb.ListAppointmentsResponse(
            appointments=[appointment_message(visit, with_phi=with_phi) for visit in page.appointments],
            next_page_token=page.next_token,
            page=page.page,
            limit=page.limit,
        )

    async def UpdateAppointment(
        self, request: pb.UpdateAppointmentRequest, context: Context
    ) -> pb.UpdateAppointmentResponse:
        caller = requests.caller_of(request)
        status, command = requests.update_appointment(request, caller)
        if isinstance(command, Reschedule):
            return await self._move(request, pb.UpdateAppointmentResponse, command)
        if isinstance(command, ChangeNotes):
            notes = command
            return await self._run(
                request,
                pb.UpdateAppointmentResponse,
                caller,
                lambda session: self._usecases.notes(session, notes),
            )
        if status is None or status not in self._usecases.steps or not isinstance(command, ChangeStatus):
            raise Invalid.field("status", "cannot be set")
        return await self._step(request, pb.UpdateAppointmentResponse, status, command)

    async def RescheduleAppointment(
        self, request: pb.RescheduleAppointmentRequest, context: Context
    ) -> pb.RescheduleAppointmentResponse:
        command = requests.reschedule(request, requests.caller_of(request))
        return await self._move(request, pb.RescheduleAppointmentResponse, command)

    async def CancelAppointment(
        self, request: pb.CancelAppointmentRequest, context: Context
    ) -> pb.CancelAppointmentResponse:
        return await self._to(request, pb.CancelAppointmentResponse, AppointmentStatus.CANCELED)

    async def ConfirmAppointment(
        self, request: pb.ConfirmAppointmentRequest, context: Context
    ) -> pb.ConfirmAppointmentResponse:
        return await self._to(request, pb.ConfirmAppointmentResponse, AppointmentStatus.CONFIRMED)

    async def CheckInAppointment(
        self, request: pb.CheckInAppointmentRequest, context: Context
    ) -> pb.CheckInAppointmentResponse:
        return await self._to(request, pb.CheckInAppointmentResponse, AppointmentStatus.CHECKED_IN)

    async def StartAppointment(
        self, request: pb.StartAppointmentRequest, context: Context
    ) -> pb.StartAppointmentResponse:
        return await self._to(request, pb.StartAppointmentResponse, AppointmentStatus.IN_PROGRESS)

    async def CompleteAppointment(
        self, request: pb.CompleteAppointmentRequest, context: Context
    ) -> pb.CompleteAppointmentResponse:
        return await self._to(request, pb.CompleteAppointmentResponse, AppointmentStatus.COMPLETED)

    async def MarkNoShow(self, request: pb.MarkNoShowRequest, context: Context) -> pb.MarkNoShowResponse:
        return await self._to(request, pb.MarkNoShowResponse, AppointmentStatus.NO_SHOW)

    async def RenewHold(self, request: pb.RenewHoldRequest, context: Context) -> pb.RenewHoldResponse:
        command = requests.renew_hold(request, requests.caller_of(request))
        return await self._run(
            request,
            pb.RenewHoldResponse,
            command.caller,
            lambda session: self._usecases.renew_hold(session, command),
        )

    async def ConfirmHold(self, request: pb.ConfirmHoldRequest, context: Context) -> pb.ConfirmHoldResponse:
        command = requests.confirm_hold(request, requests.caller_of(request))
        return await self._run(
            request,
            pb.ConfirmHoldResponse,
            command.caller,
            lambda session: self._usecases.confirm_hold(session, command),
            self._usecases.alternatives.of_confirmation(command),
        )

    async def ReleaseHold(self, request: pb.ReleaseHoldRequest, context: Context) -> pb.ReleaseHoldResponse:
        command = requests.release_hold(request, requests.caller_of(request))
        return await self._run(
            request,
            pb.ReleaseHoldResponse,
            command.caller,
            lambda session: self._usecases.release_hold(session, command),
        )

    async def _book(self, request: Message, message: type[AnswerT], command: Book) -> AnswerT:
        return await self._run(
            request,
            message,
            command.caller,
            lambda session: self._usecases.book(session, command),
            self._usecases.alternatives.of_booking(command),
        )

    async def _move(self, request: Message, message: type[AnswerT], command: Reschedule) -> AnswerT:
        return await self._run(
            request,
            message,
            command.caller,
            lambda session: self._usecases.reschedule(session, command),
            self._usecases.alternatives.of_move(command),
        )

    async def _to(self, request: Any, message: type[AnswerT], status: AppointmentStatus) -> AnswerT:
        command = requests.change_status(request, requests.caller_of(request))
        return await self._step(request, message, status, command)

    async def _step(
        self, request: Message, message: type[AnswerT], status: AppointmentStatus, command: ChangeStatus
    ) -> AnswerT:
        step = self._usecases.steps[status]
        return await self._run(
            request,
            message,
            command.caller,
            lambda session: step(session, command),
            self._usecases.alternatives.of_return(command),
        )

    async def _run(
        self,
        request: Any,
        message: type[AnswerT],
        caller: Caller,
        work: Work,
        alternatives: Alternatives | None = None,
    ) -> AnswerT:
        mutation = Mutation(
            caller=caller,
            clinic_id=request.clinic_id.lower(),
            method=message.DESCRIPTOR.name.removesuffix("Response"),
            fingerprint=requests.fingerprint(request),
            codec=AnswerCodec(message, may_read_phi(caller.principal)),
            work=work,
            alternatives=alternatives,
        )
        try:
            return await self._usecases.mutations.run(mutation)
        except DomainError as error:
            if isinstance(error.alternatives, Conflicts):
                error.details = (*error.details, conflict_message(error.alternatives))
            raise
