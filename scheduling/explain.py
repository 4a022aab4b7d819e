"""Why a time is free or not: every check of the search, told one by one.

Where a check of the search lumps things together, it is split into what a person would name: outside hours
is the provider's windows, time off, the location's hours or a closure; taken is the visit itself or only a
buffer. The parts of a split refuse exactly the starts that the whole refuses, so an explanation says free
exactly when search offers it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import Final

from scheduling import localtime, timeline, windows
from scheduling.busy import BusyFacts
from scheduling.checks import Plan
from scheduling.conditions import Check
from scheduling.derived import DerivedCache
from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, SlotRequest, StaticFacts
from scheduling.frame import Frame, duration_of, service_of
from scheduling.ids import gap_id
from scheduling.judge import room_reason
from scheduling.reading import frame_for
from scheduling.rules.min_gap import Gap
from scheduling.rules.registry import kind_of
from scheduling.sentences import sentence_of
from scheduling.timeline import Bits, Horizon

NEAREST_DAYS: Final = 31

_CLOSED: Final = ("hours", "time_off", "location_hours", "closure")
# How far is looked for the ends of closed time that reaches beyond the window, step by step.
_CLOSED_DAYS: Final = (31, 400)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check said of one start.

    `since_min` and `until_min` bound what blocks (the busy time, the closure, the local day), half-open; an end that
    lies beyond all that was looked at is None.
    """

    check: str
    is_passed: bool
    sentence: str
    reason: Reason | None = None
    since_min: int | None = None
    until_min: int | None = None
    subject_kind: ResourceKind | None = None
    subject_id: str = ""


@dataclass(frozen=True, slots=True)
class ProviderExplanation:
    """One provider's answer for one start; `nearest_min` is the provider's nearest start that works."""

    provider_id: str
    is_free: bool
    outcomes: tuple[Outcome, ...]
    nearest_min: int | None


@dataclass(frozen=True, slots=True)
class SlotExplanation:
    """Every candidate's answer for one start, and the nearest (start, provider id) that works."""

    start_min: int
    end_min: int
    is_free: bool
    providers: tuple[ProviderExplanation, ...]
    nearest: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class DayRun:
    """A stretch of a day whose grid starts all have the same answer."""

    start_min: int
    end_min: int
    is_free: bool
    blocked_by: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class ProviderDay:
    """One provider's day, in runs that cover all of it."""

    provider_id: str
    runs: tuple[DayRun, ...]
    free_slots: int


def explain_window(static: StaticFacts, request: SlotRequest, start_min: int) -> Horizon:
    """Return the window `explain_slot` looks at, for the store to read: 31 days on either side of the start."""
    duration = duration_of(service_of(static, request.service_id), request.duration_min)
    around = NEAREST_DAYS * timeline.DAY_MIN
    return Horizon(start_min - around, start_min + duration + around)


def explain_slot(
    static: StaticFacts,
    busy: BusyFacts,
    request: SlotRequest,
    start_min: int,
    *,
    now_min: float,
    cache: DerivedCache,
) -> SlotExplanation:
    """Say of one start, for every candidate provider, what each check says and which nearest start works."""
    window = explain_window(static, request, start_min)
    frame = frame_for(static, busy, request, window=window, now_min=now_min, cache=cache)
    plan = Plan(frame)
    providers = tuple(_explain_provider(plan, provider, start_min) for provider in plan.providers())
    nearest = [(found.nearest_min, found.provider_id) for found in providers if found.nearest_min is not None]
    return SlotExplanation(
        start_min,
        start_min + frame.duration_min,
        any(provider.is_free for provider in providers),
        providers,
        min(nearest, key=lambda item: (abs(item[0] - start_min), item), default=None),
    )


def explain_day(
    static: StaticFacts,
    busy: BusyFacts,
    request: SlotRequest,
    local_date: date,
    *,
    now_min: float,
    cache: DerivedCache,
) -> tuple[ProviderDay, ...]:
    """Say of a local day, for every candidate provider, which stretches are free and what blocks the others."""
    day = day_window(static, request, local_date)
    if day is None:
        return ()
    frame = frame_for(static, busy, request, window=day, now_min=now_min, cache=cache)
    bounds = localtime.day_bounds(frame.zone, local_date)
    plan = Plan(frame)
    return tuple(_explain_day(plan, provider, *bounds) for provider in plan.providers())


def day_window(static: StaticFacts, request: SlotRequest, local_date: date) -> Horizon | None:
    """Return the window of every visit that starts on a local day, for the store; None for a skipped day."""
    low, high = localtime.day_bounds(static.location.zone, local_date)
    duration = duration_of(service_of(static, request.service_id), request.duration_min)
    return Horizon(low, high - 1 + duration) if low < high else None


def _explain_provider(plan: Plan, provider: Provider, start_min: int) -> ProviderExplanation:
    """Return one provider's outcomes, and its nearest start that works."""
    horizon = plan.frame.horizon
    starts = plan.starts(provider)
    checks = _told_as_one(_split(plan, provider), horizon, start_min)
    outcomes = tuple(_outcome(plan, provider, check, start_min) for check in checks)
    return ProviderExplanation(
        provider.id,
        timeline.has(starts, horizon, start_min),
        outcomes,
        timeline.nearest(starts, horizon, start_min),
    )


def _explain_day(plan: Plan, provider: Provider, low_min: int, high_min: int) -> ProviderDay:
    """Return the runs of one provider's day: neighbouring grid starts that the same checks refuse."""
    frame = plan.frame
    checks = [check for check in _split(plan, provider) if check.name != "grid"]
    blocked = timeline.Probe(((str(index), c.blocked) for index, c in enumerate(checks)), frame.horizon)
    on_grid = timeline.both(frame.grid(), timeline.interval(frame.horizon, low_min, high_min))
    runs: list[DayRun] = []
    previous: tuple[str, ...] | None = None
    begin_min, first_start = low_min, low_min
    free_slots = 0

    def close(end_min: int) -> None:
        if previous is not None:
            failed = tuple(_outcome(plan, provider, checks[int(index)], first_start) for index in previous)
            runs.append(DayRun(begin_min, end_min, not previous, failed))

    for start_min in timeline.minutes(on_grid, frame.horizon):
        failing = blocked.names(start_min)
        free_slots += not failing
        if failing != previous:
            close(start_min)
            begin_min = low_min if previous is None else start_min
            previous, first_start = failing, start_min
    close(high_min)
    return ProviderDay(provider.id, tuple(runs), free_slots)


def _split(plan: Plan, provider: Provider) -> Iterator[Check]:
    """Yield every check of the search, the coarse ones split into what a person would name."""
    for check in (*_one_past(plan.common(provider)), *plan.own(provider)):
        if check.name == "hours":
            yield from _hours_checks(plan.frame, provider)
        elif check.name == "busy":
            yield from _busy_checks(plan.frame, provider, check)
        else:
            yield check


def _told_as_one(checks: Iterable[Check], horizon: Horizon, start_min: int) -> Iterator[Check]:
    """Yield one check for the law and one for each rule: of those with two ends, the one that refuses the start."""
    for _, parts in groupby(checks, key=lambda check: (check.name, check.rule)):
        first, *others = parts
        refusing = (check for check in (first, *others) if timeline.has(check.blocked, horizon, start_min))
        yield next(refusing, first)


def _one_past(checks: list[Check]) -> list[Check]:
    """Return the common checks with the two that refuse the past, the hard one and the soft one, told as one."""
    hard, soft, *others = checks
    return [replace(soft, blocked=timeline.union(hard.blocked, soft.blocked)), *others]


def _hours_checks(frame: Frame, provider: Provider) -> Iterator[Check]:
    """Split open time: it holds a span exactly when each of its four parts lets the span be."""
    for name, closed in _closed_times(frame, provider, frame.horizon).items():
        is_own = name in ("hours", "time_off")
        kind, subject_id = (ResourceKind.PROVIDER, provider.id) if is_own else (None, frame.location.id)
        yield Check(name, Reason.OUTSIDE_HOURS, _touching(frame, closed), False, kind, subject_id)


def _busy_checks(frame: Frame, provider: Provider, whole: Check) -> Iterator[Check]:
    """Split taken time: the visit itself meets another claim, or only one of its buffers does."""
    visit = frame.blocked_starts(frame.taken(provider.id), 0, 0)
    yield replace(whole, blocked=visit)
    yield replace(whole, name="buffer", blocked=timeline.without(whole.blocked, visit))


def _touching(frame: Frame, closed: Bits) -> Bits:
    """Return the starts whose visit (with buffers, if the service says so) touches closed time."""
    if frame.service.buffers_within_hours:
        return frame.blocked_starts(closed, frame.lead_min, frame.tail_min)
    return frame.blocked_starts(closed, 0, 0)


def _outcome(plan: Plan, provider: Provider, check: Check, start_min: int) -> Outcome:
    """Return what a check says of a start, with what blocks it since and until when."""
    frame = plan.frame
    rule_says = kind_of(check.rule).sentence(check.rule) if check.rule else ""
    if not timeline.has(check.blocked, frame.horizon, start_min):
        sentence = rule_says or sentence_of(check.name, is_passed=True)
        return Outcome(check.name, True, sentence, None, None, None, check.subject_kind, check.subject_id)
    reason = room_reason(plan, provider, start_min) if check.name == "room" else check.reason
    since_min, until_min = _extent(plan, provider, check, start_min)
    return Outcome(
        check=check.name,
        is_passed=False,
        sentence=sentence_of(check.name, is_passed=False, rule_says=rule_says, reason=reason),
        reason=reason,
        since_min=since_min,
        until_min=until_min,
        subject_kind=check.subject_kind,
        subject_id=check.subject_id,
    )


_Extent = tuple[int | None, int | None]


def _extent(plan: Plan, provider: Provider, check: Check, start_min: int) -> _Extent:
    """Return the run of what blocks a start: of its cause, where there is one, else of the refused starts."""
    frame = plan.frame
    cause = _cause(plan, provider, check)
    span = timeline.interval(
        frame.horizon, start_min - frame.lead_min, start_min + frame.duration_min + frame.tail_min
    )
    met_min = timeline.first(timeline.both(cause, span), frame.horizon)
    if met_min is None:
        return _run(check.blocked, frame.horizon, start_min)
    found = _run(cause, frame.horizon, met_min)
    return _closed_run(frame, provider, check.name, met_min) if None in found and _is_closed(check) else found


def _run(bits: Bits, horizon: Horizon, at_min: int) -> _Extent:
    """Return the run around a minute; None for an end that is the horizon's: what comes behind it is not known."""
    since_min, until_min = timeline.run_around(bits, horizon, at_min)
    return (
        None if since_min == horizon.start_min else since_min,
        None if until_min == horizon.end_min else until_min,
    )


def _closed_run(frame: Frame, provider: Provider, name: str, at_min: int) -> _Extent:
    """Return the run of closed time around a minute, looked for beyond the window."""
    found: _Extent = (None, None)
    week = at_min // timeline.WEEK_MIN * timeline.WEEK_MIN
    for days in _CLOSED_DAYS:
        around = Horizon(week - days * timeline.DAY_MIN, week + (7 + days) * timeline.DAY_MIN)
        found = _run(_closed_times(frame, provider, around)[name], around, at_min)
        if None not in found:
            break
    return found


def _cause(plan: Plan, provider: Provider, check: Check) -> Bits:
    """Return the time that stands behind a check: closed or taken minutes. Nothing for rules about starts."""
    frame = plan.frame
    if check.name in ("busy", "buffer"):
        return frame.taken(provider.id)
    if check.name == "patient":
        return frame.taken(check.subject_id)
    if check.rule is not None and isinstance(check.rule.payload, Gap):
        return frame.taken(gap_id(check.rule.id, provider.id))
    return _closed_times(frame, provider, frame.horizon)[check.name] if _is_closed(check) else timeline.NEVER


def _is_closed(check: Check) -> bool:
    return check.name in _CLOSED


def _closed_times(frame: Frame, provider: Provider, horizon: Horizon) -> dict[str, Bits]:
    """Return, by the name a person would use, the times that are not open for a provider here; worked out once."""
    location, schedule = frame.location, provider.schedule
    span = (horizon.start_min, horizon.end_min)
    key = ("closed", schedule.fingerprint, location.fingerprint, *span)
    found: tuple[Bits, ...] | None = frame.cache.masks.get(key)
    if found is None:
        own = windows.working_time(schedule, location, horizon, always_open=False)
        everything = timeline.always(horizon)
        found = (
            timeline.without(everything, own.working),
            own.time_off,
            timeline.without(everything, windows.opening_hours(location, horizon)),
            windows.closed(location, horizon),
        )
        frame.cache.masks.put(key, found)
    return dict(zip(_CLOSED, found, strict=True))
