"""DirectoryService: every entity's five RPCs are one piece of code, told apart by the contract's names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from medforall.directory.v1 import directory_pb2, directory_types_pb2
from medforall.type.v1 import reason_pb2

from booking_svc.directory.entities import PLAIN, Displaced, Edited, Kind, Record
from booking_svc.rpc.directory_oversight import NewClinics, OversightHandlers
from booking_svc.rpc.directory_wire import (
    changes_of,
    filters_of,
    impersonal,
    message_of,
    record_of,
    shown_to,
    violations_within,
)
from booking_svc.rpc.replies import may_read_phi
from booking_svc.rpc.requests import caller_of, fingerprint
from booking_svc.store.session import Session
from booking_svc.usecases.clinics import Clinics
from booking_svc.usecases.edit_directory import Edit, EditDirectory
from booking_svc.usecases.mutation import Mutation, Mutations
from booking_svc.usecases.oversight import Oversight
from booking_svc.usecases.patients import TERMS, Patients, SearchPatients
from booking_svc.usecases.read_directory import ListEntries, Page, ReadDirectory
from booking_svc.usecases.transactions import Transactions
from scheduling.errors import Invalid

Handler = Callable[[Any, Message, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The five RPCs of one entity: `Create{word}`, `Get{word}`, `List{plural}`, `Update{word}`, `Deactivate{word}`."""

    kind: Kind
    word: str
    plural: str
    filters: tuple[str, ...] = ()

    @property
    def message(self) -> type[Message]:
        """The entity's message."""
        found: type[Message] = getattr(directory_types_pb2, self.word)
        return found

    @property
    def field(self) -> str:
        """The field that holds the entity in requests and replies."""
        return self.kind.value


FAMILIES: Final = (
    Family(kind=Kind.LOCATION, word="Location", plural="Locations"),
    Family(kind=Kind.CLOSURE, word="Closure", plural="Closures", filters=("location_id",)),
    Family(kind=Kind.PROVIDER, word="Provider", plural="Providers", filters=("location_id", "specialty")),
    Family(kind=Kind.ROOM, word="Room", plural="Rooms", filters=("location_id", "room_type")),
    Family(kind=Kind.EQUIPMENT, word="Equipment", plural="Equipment", filters=("location_id", "type")),
    Family(kind=Kind.SERVICE, word="Service", plural="Services"),
    Family(
        kind=Kind.SERVICE_RULE,
        word="ServiceRule",
        plural="ServiceRules",
        filters=("service_id", "provider_id"),
    ),
    Family(kind=Kind.WINDOW, word="Window", plural="Windows", filters=("resource_id", "location_id")),
    Family(kind=Kind.PREFERENCE, word="Preference", plural="Preferences", filters=("provider_id",)),
    Family(kind=Kind.PATIENT, word="Patient", plural="Patients", filters=TERMS),
)


@dataclass(frozen=True, slots=True)
class EditCodec:
    """Answers of one RPC that changes an entry; `with_phi` False keeps what it says of a person to itself."""

    family: Family
    reply: type[Any]
    with_phi: bool

    def answer(self, outcome: Edited) -> Message:
        """The reply of a new change."""
        reply: Message = self.reply(
            consistency_token=outcome.consistency_token,
            displaced=[_displaced(visit) for visit in outcome.displaced],
        )
        shown = message_of(outcome.entry, self.family.message)
        if self.family.kind is Kind.PATIENT and not self.with_phi:
            shown = impersonal(shown)
        getattr(reply, self.family.field).CopyFrom(shown)
        return reply

    def dump(self, answer: Message) -> bytes:
        """The reply as bytes."""
        return answer.SerializeToString()

    def replay(self, raw: bytes) -> Message:
        """The reply that was given before, marked."""
        reply = self.reply.FromString(raw)
        reply.replayed = True
        return reply  # type: ignore[no-any-return]


class DirectoryServicer(OversightHandlers):
    """Turns requests into edits and reads."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        mutations: Mutations,
        editing: EditDirectory,
        reading: ReadDirectory,
        patients: Patients,
        clinics: Clinics,
        oversight: Oversight,
        new_clinics: NewClinics,
    ) -> None:
        self._transactions = transactions
        self._mutations = mutations
        self._editing = editing
        self._reading = reading
        self._patients = patients
        self._clinics = clinics
        self._oversight = oversight
        self._new_clinics = new_clinics

    async def change(self, family: Family, request: Any, edit: Edit, method: str) -> Message:
        """Run an edit as a mutation of the caller's."""
        mutation = Mutation(
            caller=edit.caller,
            clinic_id=edit.clinic_id,
            method=method,
            fingerprint=fingerprint(request),
            codec=EditCodec(
                family,
                getattr(directory_pb2, f"{method}Response"),
                with_phi=may_read_phi(edit.caller.principal),
            ),
            work=self._work(edit),
        )
        with violations_within(family.field, family.message):
            return await self._mutations.run(mutation)

    async def read(self, family: Family, request: Any) -> Message:
        """Read one entry."""
        clinic_id, entry_id = request.clinic_id.lower(), getattr(request, f"{family.field}_id").lower()
        caller = caller_of(request)
        if family.kind is Kind.PATIENT:
            entry = await self._transactions.write(
                clinic_id, lambda session: self._patients.read(session, caller, entry_id)
            )
        else:
            entry = await self._reading.get(clinic_id, family.kind, entry_id)
        reply: Message = getattr(directory_pb2, f"Get{family.word}Response")()
        shown = shown_to(caller.principal, message_of(entry, family.message))
        getattr(reply, family.field).CopyFrom(shown)
        return reply

    async def page(self, family: Family, request: Any) -> Message:
        """Read a page of entries."""
        filters = filters_of(request, family.filters)
        if family.kind is Kind.PATIENT:
            page = await self._search(request, filters)
        else:
            query = ListEntries(
                kind=family.kind,
                filters=filters,
                with_inactive=request.include_inactive,
                page_size=request.page_size,
                page_token=request.page_token,
            )
            page = await self._reading.page(request.clinic_id.lower(), query)
        reply: Any = getattr(directory_pb2, f"List{family.plural}Response")(next_page_token=page.next_token)
        entries = reply.DESCRIPTOR.fields[0].name
        reader = caller_of(request).principal
        getattr(reply, entries).extend(
            shown_to(reader, message_of(entry, family.message)) for entry in page.entries
        )
        return reply  # type: ignore[no-any-return]

    async def BatchGetPatients(
        self, request: directory_pb2.BatchGetPatientsRequest, _context: object
    ) -> directory_pb2.BatchGetPatientsResponse:
        """Read some patients, all of them or none."""
        caller, patient_ids = caller_of(request), _each_once(request.ids)
        entries = await self._transactions.write(
            request.clinic_id.lower(),
            lambda session: self._patients.read_many(session, caller, patient_ids),
        )
        shown = (
            shown_to(caller.principal, message_of(entry, directory_types_pb2.Patient)) for entry in entries
        )
        return directory_pb2.BatchGetPatientsResponse(patients=shown)

    async def _search(self, request: Any, terms: dict[str, str]) -> Page:
        search = SearchPatients(
            caller=caller_of(request),
            clinic_id=request.clinic_id.lower(),
            terms=terms,
            with_inactive=request.include_inactive,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return await self._transactions.write(
            request.clinic_id.lower(), lambda session: self._patients.search(session, search)
        )

    def _work(self, edit: Edit) -> Callable[[Session], Awaitable[Edited]]:
        use = self._patients.edit if edit.kind is Kind.PATIENT else self._editing.work
        return lambda session: use(session, edit)


def _install(family: Family) -> None:
    """Give the servicer the entity's five handlers."""
    handlers: dict[str, Handler] = {
        f"Create{family.word}": _create(family),
        f"Get{family.word}": _get(family),
        f"List{family.plural}": _list(family),
        f"Update{family.word}": _update(family),
        f"Deactivate{family.word}": _deactivate(family),
    }
    for name, handler in handlers.items():
        setattr(DirectoryServicer, name, handler)


def _create(family: Family) -> Handler:
    async def create(servicer: DirectoryServicer, request: Any, _context: object) -> Message:
        message = getattr(request, family.field)
        with violations_within(family.field, family.message):
            record = record_of(message)
        edit = Edit(
            caller=caller_of(request),
            clinic_id=request.clinic_id.lower(),
            kind=family.kind,
            changes=_of_new_entry(family, record),
            entry_id=message.id.lower(),
            is_new=True,
            strict=request.strict,
        )
        return await servicer.change(family, request, edit, f"Create{family.word}")

    return create


def _of_new_entry(family: Family, record: Record) -> Record:
    """The record without numbers that it leaves at zero where zero would say something: a message cannot tell."""
    entity = PLAIN.get(family.kind)
    unsaid = {name for name in entity.unset_means if not record[name]} if entity else set()
    return {name: value for name, value in record.items() if name not in unsaid}


def _get(family: Family) -> Handler:
    async def get(servicer: DirectoryServicer, request: Any, _context: object) -> Message:
        return await servicer.read(family, request)

    return get


def _list(family: Family) -> Handler:
    async def page(servicer: DirectoryServicer, request: Any, _context: object) -> Message:
        return await servicer.page(family, request)

    return page


def _update(family: Family) -> Handler:
    async def update(servicer: DirectoryServicer, request: Any, _context: object) -> Message:
        with violations_within(family.field, family.message):
            changes = changes_of(getattr(request, family.field), request.update_mask)
        edit = _edit_of(family, request, changes)
        return await servicer.change(family, request, edit, f"Update{family.word}")

    return update


def _deactivate(family: Family) -> Handler:
    async def deactivate(servicer: DirectoryServicer, request: Any, _context: object) -> Message:
        edit = _edit_of(family, request, {}, deactivates=True)
        return await servicer.change(family, request, edit, f"Deactivate{family.word}")

    return deactivate


def _edit_of(family: Family, request: Any, changes: dict[str, Any], *, deactivates: bool = False) -> Edit:
    return Edit(
        caller=caller_of(request),
        clinic_id=request.clinic_id.lower(),
        kind=family.kind,
        changes=changes,
        entry_id=getattr(request, f"{family.field}_id").lower(),
        deactivates=deactivates,
        etag=request.etag,
        strict=request.strict,
    )


def _each_once(ids: Iterable[str]) -> list[str]:
    """The ids as the database spells them. Raises Invalid for one that is there twice, however it is spelled."""
    lowered = [entry_id.lower() for entry_id in ids]
    if len(set(lowered)) < len(lowered):
        raise Invalid.field("ids", "must name each patient once")
    return lowered


def _displaced(visit: Displaced) -> directory_types_pb2.DisplacedAppointment:
    return directory_types_pb2.DisplacedAppointment(
        appointment_id=visit.appointment_id,
        start_utc=Timestamp(seconds=visit.start_min * 60),
        end_utc=Timestamp(seconds=visit.end_min * 60),
        reason=reason_pb2.ErrorReason.Value(f"ERROR_REASON_{visit.reason.value}"),
    )


for _family in FAMILIES:
    _install(_family)
