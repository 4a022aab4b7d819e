"""A hold becomes an appointment: same id, same claims, and the patient's if it was not known before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from booking_svc.model import Appointment, EventType, HeldClaim, Outcome
from booking_svc.store.session import Session
from booking_svc.usecases import access, existing
from booking_svc.usecases.commands import Existing, UseHold
from booking_svc.usecases.existing import Found, Locked, changed_meanwhile, proposal_of_visit
from booking_svc.usecases.holds import require_usable
from booking_svc.usecases.judged_facts import ask_patient_alone, counted_patients, expired_in_the_way
from booking_svc.usecases.mutation import MetExpiredHolds
from booking_svc.usecases.places import Places
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.taking import held_claims, refused
from scheduling.appointment import AppointmentStatus
from scheduling.derived import DerivedCache
from scheduling.errors import Forbidden, Invalid
from scheduling.facts import StaticFacts
from scheduling.judge import Proposal, Verdict, as_held, judge_patient


class ConfirmHold:
    """Confirms: the hold keeps what it has, and a patient that was not known until now is claimed beside."""

    def __init__(self, places: Places, recorder: Recorder, cache: DerivedCache) -> None:
        self._places = places
        self._recorder = recorder
        self._cache = cache

    async def __call__(self, session: Session, command: UseHold) -> Outcome:
        """Confirm the hold. Raises NotFound, Refused and, for the patient's other visits, Conflict."""
        principal = command.caller.principal
        access.require_may_write_notes(principal, command.notes)
        check = require_usable(command, AppointmentStatus.SCHEDULED)
        found = await existing.find(session, command.caller, command.hold_id)
        check(found)
        patient_id = _patient(command, found.visit)
        access.require_may_book(principal, patient_id=patient_id)
        if found.visit.patient_id is not None:
            return await self._write(session, command, await _locked(session, command), patient_id, ())
        return await self._with_patient(session, command, found, patient_id)

    async def _with_patient(
        self, session: Session, command: UseHold, found: Found, patient_id: str
    ) -> Outcome:
        """Judge the patient and nothing else: before any lock, which tells the rows to lock, and under them."""
        hold = found.visit
        static = (await self._places.return_to(session, hold)).static
        static = as_held(static, hold.service_id, hold.end_min - hold.start_min)
        proposal = proposal_of_visit(replace(hold, patient_id=patient_id))
        _, rows = await self._judge(session, static, proposal, is_locked=False)
        locked = await _locked(session, command, rows)
        if locked.found.visit.version != hold.version:
            raise changed_meanwhile()
        verdict, needed = await self._judge(session, static, proposal, is_locked=True)
        if not needed <= rows:
            raise changed_meanwhile()
        return await self._write(session, command, locked, patient_id, held_claims(verdict.claims, None))

    async def _judge(
        self, session: Session, static: StaticFacts, proposal: Proposal, *, is_locked: bool
    ) -> tuple[Verdict, set[str]]:
        """The verdict on the patient, and the rows that guard it."""
        question = ask_patient_alone(session, static, proposal, is_locked=is_locked)
        await session.run()
        judged = question.answer()
        judged.require_patient(proposal)
        verdict = judge_patient(static, judged.busy, proposal, judged.now_min, self._cache)
        if not verdict.is_accepted:
            raise refused(verdict)
        ended = expired_in_the_way(judged.busy, verdict.claims, judged.now_min, "")
        if ended:
            raise MetExpiredHolds(ended)
        counted = counted_patients(static, proposal, judged.busy.patient)
        return verdict, {claim.lock_id for claim in verdict.claims} | counted

    async def _write(
        self,
        session: Session,
        command: UseHold,
        locked: Locked,
        patient_id: str,
        patients_claims: tuple[HeldClaim, ...],
    ) -> Outcome:
        """What is claimed stops ending by itself."""
        outcome = existing.write(
            session,
            self._recorder,
            command.caller,
            locked,
            event_type=EventType.HOLD_CONFIRMED,
            changed=_confirmed(command, locked.found.visit, patient_id),
            claims=[*(replace(claim, expires_at=None) for claim in locked.found.claims), *patients_claims],
        )
        await session.run()
        return outcome


async def _locked(session: Session, command: UseHold, also: Collection[str] = ()) -> Locked:
    target = Existing(caller=command.caller, clinic_id=command.clinic_id, appointment_id=command.hold_id)
    check = require_usable(command, AppointmentStatus.SCHEDULED)
    return await existing.lock(session, target, check, with_claims=True, also=also)


def _patient(command: UseHold, hold: Appointment) -> str:
    if hold.patient_id is None:
        if command.patient_id is None:
            raise Invalid.field("patient_id", "is needed: the hold has no patient yet")
        return command.patient_id
    if command.patient_id not in (None, hold.patient_id):
        raise Forbidden("The hold is another patient's.")
    return hold.patient_id


def _confirmed(command: UseHold, hold: Appointment, patient_id: str | None) -> Appointment:
    return replace(
        hold,
        status=AppointmentStatus.SCHEDULED,
        patient_id=patient_id,
        expires_at=None,
        notes=hold.notes if command.notes is None else command.notes,
    )
