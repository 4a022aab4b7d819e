"""The directory's RPCs that stand alone: clinics, window previews, audit and emergency access."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from medforall.directory.v1 import audit_pb2, directory_pb2, directory_types_pb2

from booking_svc.directory.entities import Edited, Entry
from booking_svc.rpc.directory_wire import changes_of, message_of, record_of, shown_to, violations_within
from booking_svc.rpc.replies import local_text
from booking_svc.rpc.requests import caller_of, fingerprint, instant_in
from booking_svc.store.oversight import AuditRow, Grant
from booking_svc.store.session import Session
from booking_svc.usecases.clinics import Clinics, PublicClinic
from booking_svc.usecases.directory_tokens import token_of_new_clinic
from booking_svc.usecases.mutation import Mutation, Mutations
from booking_svc.usecases.oversight import AuditQuery, Oversight
from booking_svc.usecases.preview_windows import preview_windows
from booking_svc.usecases.transactions import Transactions
from scheduling.ids import canonical_id

Context = Any
_STATUSES: Final = {"active": 1, "suspended": 2, "archived": 3}
_WORDS: Final = {number: word for word, number in _STATUSES.items()}


class NewClinics(Protocol):
    """Makes clinics and lists them for the installation's operators; the services' role sees one clinic only."""

    async def create(
        self, clinic_id: str, work: Callable[[Session], Awaitable[tuple[Entry, bool]]]
    ) -> tuple[Entry, bool]:
        """Run `work` as a clinic that may not exist yet, and give it its first data key."""
        ...

    async def page(self, status: str | None, after_id: str | None, limit: int) -> list[Entry]:
        """Clinics in the order of their ids."""
        ...


@dataclass(frozen=True, slots=True)
class ClinicCodec:
    """Answers of one RPC that changes a clinic."""

    reply: type[Any]

    def answer(self, outcome: Edited) -> Message:
        """The reply of a new change."""
        return self.reply(  # type: ignore[no-any-return]
            clinic=clinic_message(outcome.entry), consistency_token=outcome.consistency_token
        )

    def dump(self, answer: Message) -> bytes:
        """The reply as bytes."""
        return answer.SerializeToString()

    def replay(self, raw: bytes) -> Message:
        """The reply that was given before, marked."""
        reply = self.reply.FromString(raw)
        reply.replayed = True
        return reply  # type: ignore[no-any-return]


class OversightHandlers:
    """Handlers of the RPCs about clinics, previews, audit and emergency access."""

    _transactions: Transactions
    _mutations: Mutations
    _clinics: Clinics
    _oversight: Oversight
    _new_clinics: NewClinics

    async def CreateClinic(
        self, request: directory_pb2.CreateClinicRequest, _context: Context
    ) -> directory_pb2.CreateClinicResponse:
        """Create a clinic with its data key."""
        caller, record = caller_of(request), record_of(request.clinic)
        clinic_id = self._clinics.id_for(caller, request.clinic.id)
        with violations_within("clinic", directory_types_pb2.Clinic):
            entry, was_there = await self._new_clinics.create(
                clinic_id,
                lambda session: self._clinics.create(
                    session, caller, record, is_id_of_key=not request.clinic.id
                ),
            )
        return directory_pb2.CreateClinicResponse(
            clinic=clinic_message(entry),
            consistency_token=token_of_new_clinic(clinic_id),
            replayed=was_there,
        )

    async def GetClinic(
        self, request: directory_pb2.GetClinicRequest, _context: Context
    ) -> directory_pb2.GetClinicResponse:
        """The caller's clinic."""
        caller = caller_of(request)
        entry = await self._transactions.read(
            request.clinic_id.lower(), lambda session: self._clinics.get(session, caller)
        )
        return directory_pb2.GetClinicResponse(clinic=shown_to(caller.principal, clinic_message(entry)))

    async def GetClinicLimits(
        self, request: directory_pb2.GetClinicLimitsRequest, _context: Context
    ) -> directory_pb2.GetClinicLimitsResponse:
        """What the clinic's callers may use together."""
        caller = caller_of(request)
        entry = await self._transactions.read(
            request.clinic_id.lower(), lambda session: self._clinics.get(session, caller)
        )
        return directory_pb2.GetClinicLimitsResponse(requests_per_minute=entry.record["requests_per_minute"])

    async def GetPublicClinic(
        self, request: directory_pb2.GetPublicClinicRequest, _context: Context
    ) -> directory_pb2.GetPublicClinicResponse:
        """What anybody may know of a clinic."""
        return _public(await self._transactions.read(request.clinic_id.lower(), self._clinics.public))

    async def ListClinics(
        self, request: directory_pb2.ListClinicsRequest, _context: Context
    ) -> directory_pb2.ListClinicsResponse:
        """Clinics of the installation."""
        size = request.page_size or 50
        after_id = canonical_id(request.page_token, "page_token") if request.page_token else None
        found = await self._new_clinics.page(_WORDS.get(request.status), after_id, size + 1)
        token = found[size - 1].id if len(found) > size else ""
        clinics = [clinic_message(entry) for entry in found[:size]]
        return directory_pb2.ListClinicsResponse(clinics=clinics, next_page_token=token)

    async def UpdateClinic(
        self, request: directory_pb2.UpdateClinicRequest, _context: Context
    ) -> directory_pb2.UpdateClinicResponse:
        """Change the caller's clinic."""
        caller, changes = caller_of(request), changes_of(request.clinic, request.update_mask)
        return await self._change(  # type: ignore[no-any-return]
            request,
            "UpdateClinic",
            lambda session: self._clinics.update(session, caller, changes, request.etag),
        )

    async def SetClinicStatus(
        self, request: directory_pb2.SetClinicStatusRequest, _context: Context
    ) -> directory_pb2.SetClinicStatusResponse:
        """Activate, suspend or archive a clinic."""
        caller, status = caller_of(request), _WORDS[request.status]
        return await self._change(  # type: ignore[no-any-return]
            request,
            "SetClinicStatus",
            lambda session: self._clinics.set_status(session, caller, status, request.reason),
        )

    async def PreviewWindows(
        self, request: directory_pb2.PreviewWindowsRequest, _context: Context
    ) -> directory_pb2.PreviewWindowsResponse:
        """Expand a window over local days."""
        with violations_within("window", directory_types_pb2.Window):
            preview = await self._transactions.read(
                request.clinic_id.lower(),
                lambda session: preview_windows(
                    session,
                    record_of(request.window),
                    location_id=request.location_id.lower(),
                    start_date=request.start_date,
                    end_date=request.end_date,
                ),
            )
        occurrences = [
            directory_pb2.WindowOccurrence(
                start=local_text(found.start_min, preview.zone),
                end=local_text(found.end_min, preview.zone),
                start_utc=Timestamp(seconds=found.start_min * 60),
                end_utc=Timestamp(seconds=found.end_min * 60),
                shifted=found.is_shifted,
            )
            for found in preview.occurrences
        ]
        return directory_pb2.PreviewWindowsResponse(
            occurrences=occurrences, timezone=preview.zone, truncated=preview.is_truncated
        )

    async def ListAuditEvents(
        self, request: directory_pb2.ListAuditEventsRequest, _context: Context
    ) -> directory_pb2.ListAuditEventsResponse:
        """Who did what, newest first."""
        caller = caller_of(request)
        query = AuditQuery(
            actor=request.actor,
            action=request.action,
            entity_id=request.entity_id.lower(),
            since=instant_in(request, "from"),
            until=instant_in(request, "to"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        page = await self._transactions.write(
            request.clinic_id.lower(), lambda session: self._oversight.audit(session, caller, query)
        )
        events = [_audit_message(row) for row in page.rows]
        return directory_pb2.ListAuditEventsResponse(audit_events=events, next_page_token=page.next_token)

    async def BreakGlass(
        self, request: directory_pb2.BreakGlassRequest, _context: Context
    ) -> directory_pb2.BreakGlassResponse:
        """Grant an hour of emergency access."""
        caller = caller_of(request)
        mutation = Mutation(
            caller=caller,
            clinic_id=request.clinic_id.lower(),
            method="BreakGlass",
            fingerprint=fingerprint(request),
            codec=_GrantCodec(),
            work=lambda session: self._oversight.break_glass(
                session, caller, request.patient_id.lower(), request.reason
            ),
        )
        return await self._mutations.run(mutation)

    async def ListBreakGlass(
        self, request: directory_pb2.ListBreakGlassRequest, _context: Context
    ) -> directory_pb2.ListBreakGlassResponse:
        """Emergency accesses, newest first."""
        caller = caller_of(request)
        page = await self._transactions.write(
            request.clinic_id.lower(),
            lambda session: self._oversight.grants(
                session,
                caller,
                active_only=request.active_only,
                page_size=request.page_size,
                page_token=request.page_token,
            ),
        )
        grants = [_grant_message(grant) for grant in page.rows]
        return directory_pb2.ListBreakGlassResponse(grants=grants, next_page_token=page.next_token)

    async def _change(self, request: Any, method: str, work: Callable[[Session], Awaitable[Edited]]) -> Any:
        mutation = Mutation(
            caller=caller_of(request),
            clinic_id=request.clinic_id.lower(),
            method=method,
            fingerprint=fingerprint(request),
            codec=ClinicCodec(getattr(directory_pb2, f"{method}Response")),
            work=work,
        )
        with violations_within("clinic", directory_types_pb2.Clinic):
            return await self._mutations.run(mutation)


class _GrantCodec:
    """Answers of BreakGlass."""

    def answer(self, outcome: Grant) -> directory_pb2.BreakGlassResponse:
        return directory_pb2.BreakGlassResponse(grant=_grant_message(outcome))

    def dump(self, answer: directory_pb2.BreakGlassResponse) -> bytes:
        return answer.SerializeToString()

    def replay(self, raw: bytes) -> directory_pb2.BreakGlassResponse:
        reply = directory_pb2.BreakGlassResponse.FromString(raw)
        reply.replayed = True
        return reply


def clinic_message(entry: Entry) -> directory_types_pb2.Clinic:
    """The clinic as its message, with its status."""
    message = message_of(entry, directory_types_pb2.Clinic)
    message.status = _STATUSES[entry.record["status"]]  # type: ignore[assignment]
    return message


def _public(found: PublicClinic) -> directory_pb2.GetPublicClinicResponse:
    reply = directory_pb2.GetPublicClinicResponse(
        clinic_id=found.clinic.id,
        name=found.clinic.record["name"],
        timezone=found.clinic.record["default_timezone"],
    )
    for location_id, name, address, zone in found.locations:
        place = reply.locations.add(id=location_id, name=name, timezone=zone)
        json_format.ParseDict(address or {}, place.address, ignore_unknown_fields=True)
    for service_id, name, description, duration_min in found.services:
        reply.services.add(id=service_id, name=name, description=description, duration_min=duration_min)
    return reply


def _audit_message(row: AuditRow) -> audit_pb2.AuditEvent:
    return audit_pb2.AuditEvent(
        id=row.id,
        clinic_id=row.clinic_id,
        actor=row.actor,
        actor_role=row.actor_role,
        action=row.action,
        entity_type=row.entity_type,
        entity_id=row.entity_id or "",
        at=_stamp(row.at),
        source_ip=row.source_ip or "",
        request_id=row.request_id,
        before_json=row.before or "",
        after_json=row.after or "",
        sealed=row.is_sealed,
        reason=row.reason,
    )


def _grant_message(grant: Grant) -> audit_pb2.BreakGlassGrant:
    return audit_pb2.BreakGlassGrant(
        id=grant.id,
        clinic_id=grant.clinic_id,
        actor=grant.actor,
        patient_id=grant.patient_id or "",
        reason=grant.reason,
        granted_at=_stamp(grant.granted_at),
        expires_at=_stamp(grant.expires_at),
    )


def _stamp(instant: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp
