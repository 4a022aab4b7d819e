"""Explanations on the wire."""

from collections.abc import Iterable

from medforall.availability.v1 import availability_pb2
from medforall.type.v1 import reason_pb2

from availability_svc.places import Place
from availability_svc.rpc.replies import local_interval, metadata
from availability_svc.rpc.slots import SlotWriter, provider_summary
from availability_svc.usecases.explain import DayAnswer, SlotAnswer
from availability_svc.usecases.get_free_busy import FreeBusy
from scheduling.explain import DayRun, Outcome, ProviderExplanation


def slot_explanation_reply(
    answer: SlotAnswer, writer: SlotWriter, began_ns: int
) -> availability_pb2.ExplainSlotResponse:
    """Return ExplainSlot's reply."""
    found = answer.explanation
    reply = availability_pb2.ExplainSlotResponse(
        free=found.is_free,
        providers=[_provider(answer, one, writer) for one in found.providers],
        metadata=metadata(
            answer.place.zone,
            answer.stamp,
            answer.layer,
            began_ns,
            patient_judged=answer.patient_judged,
        ),
    )
    if found.nearest is not None and found.nearest[1] in answer.nearest:
        reply.nearest.CopyFrom(writer.message(answer.place, answer.nearest[found.nearest[1]]))
    return reply


def day_explanation_reply(answer: DayAnswer, began_ns: int) -> availability_pb2.ExplainDayResponse:
    """Return ExplainDay's reply."""
    place = answer.place
    return availability_pb2.ExplainDayResponse(
        providers=[
            availability_pb2.ProviderDay(
                provider=provider_summary(place, day.provider_id),
                runs=[_run(place, run) for run in day.runs],
                free_slots=day.free_slots,
            )
            for day in answer.providers
        ],
        metadata=metadata(
            place.zone, answer.stamp, answer.layer, began_ns, patient_judged=answer.patient_judged
        ),
    )


def free_busy_reply(answer: FreeBusy, began_ns: int) -> availability_pb2.GetFreeBusyResponse:
    """Return GetFreeBusy's reply."""
    place = answer.place
    return availability_pb2.GetFreeBusyResponse(
        open=[local_interval(place, *run) for run in answer.open],
        busy=[
            availability_pb2.BusyInterval(interval=local_interval(place, start_min, end_min), unit=unit)
            for start_min, end_min, unit in answer.busy
        ],
        metadata=metadata(place.zone, answer.stamp, answer.layer, began_ns),
    )


def _provider(
    answer: SlotAnswer, found: ProviderExplanation, writer: SlotWriter
) -> availability_pb2.ProviderExplanation:
    message = availability_pb2.ProviderExplanation(
        provider=provider_summary(answer.place, found.provider_id),
        free=found.is_free,
        outcomes=_outcomes(answer.place, found.outcomes),
    )
    nearest = answer.nearest.get(found.provider_id)
    if nearest is not None:
        message.nearest.CopyFrom(writer.message(answer.place, nearest))
    return message


def _run(place: Place, run: DayRun) -> availability_pb2.DayRun:
    return availability_pb2.DayRun(
        interval=local_interval(place, run.start_min, run.end_min),
        free=run.is_free,
        blocked_by=_outcomes(place, run.blocked_by),
    )


def _outcomes(place: Place, outcomes: Iterable[Outcome]) -> list[availability_pb2.RuleOutcome]:
    return [_outcome(place, outcome) for outcome in outcomes]


def _outcome(place: Place, outcome: Outcome) -> availability_pb2.RuleOutcome:
    message = availability_pb2.RuleOutcome(
        check=outcome.check,
        passed=outcome.is_passed,
        sentence=outcome.sentence,
        subject_id=outcome.subject_id,
    )
    if outcome.reason is not None and not outcome.is_passed:
        message.reason = reason_pb2.ErrorReason.Value(f"ERROR_REASON_{outcome.reason.name}")
    if outcome.since_min is not None or outcome.until_min is not None:
        message.blocked.CopyFrom(local_interval(place, outcome.since_min, outcome.until_min))
    return message
