"""Who is taken by visits to come, after a service or a patient has come to allow overlaps, or not to.

The directory's exclusive lock is held: no booking that was judged on what held before commits meanwhile.
"""

from __future__ import annotations

from typing import Final

from booking_svc.directory.entities import Displaced, Entry
from booking_svc.directory.rewriting import after_overlap_change
from booking_svc.model import Caller, HeldClaim
from booking_svc.store import displacement_statements as sql
from booking_svc.store.session import Session
from booking_svc.usecases.claim_rewriting import ClaimRewriting, Concerned
from scheduling.errors import Exhausted, Reason
from scheduling.facts import ResourceKind

VISITS_MAX: Final = 1_000
"""Visits to come of one patient."""


async def after_patient_change(
    rewriting: ClaimRewriting, session: Session, caller: Caller, patient: Entry
) -> tuple[tuple[Displaced, ...], dict[str, int]]:
    """The visits that overlap with another of the patient's, and the calendar versions of what was rewritten."""
    statement = sql.future_visits(("patient_id",))
    pending = session.queue(statement, session.clinic_id, VISITS_MAX + 1, patient.id)
    await session.run()
    visit_ids = [row[0] for row in pending.rows()]
    if len(visit_ids) > VISITS_MAX:
        raise Exhausted(
            f"The patient has more than {VISITS_MAX} visits to come; cancel some.", reason=Reason.OVERLOADED
        )
    if not visit_ids:
        return (), {}
    concerned = await rewriting.lock(session, caller, visit_ids, patient_ids=[patient.id])
    over = await rewrite_patients(rewriting, session, caller, concerned)
    displaced = tuple(
        Displaced(visit.id, visit.start_min, visit.end_min, Reason.PATIENT_ALREADY_BOOKED)
        for visit in concerned.visits()
        if visit.id in over
    )
    return displaced, concerned.versions


async def rewrite_patients(
    rewriting: ClaimRewriting, session: Session, caller: Caller, concerned: Concerned
) -> set[str]:
    """Let each visit take its patient, or not any more; the visits that overlap with another that does."""
    visits = list(concerned.visits())
    if not visits:
        return set()
    patient_ids = sorted({visit.patient_id for visit in visits if visit.patient_id})
    service_ids = sorted({visit.service_id for visit in visits})
    overlapping = session.queue(sql.MAY_OVERLAP, session.clinic_id, patient_ids, service_ids)
    first_min = min(visit.start_min for visit in visits)
    claims = session.queue(sql.CLAIMS_FROM, session.clinic_id, patient_ids, first_min)
    await session.run()
    held: dict[str, dict[str, HeldClaim]] = {}
    for patient_id, visit_id, *claim in claims.rows():
        taken = HeldClaim(patient_id, ResourceKind.PATIENT, patient_id, *claim)
        held.setdefault(patient_id, {})[visit_id] = taken
    free = {row[0] for row in overlapping.rows()}
    rewrite = after_overlap_change(
        held, may_overlap=lambda visit: visit.patient_id in free or visit.service_id in free
    )
    return {visit.id for visit in await rewriting.rewrite(session, caller, concerned, rewrite)}
