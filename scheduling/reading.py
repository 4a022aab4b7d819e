"""What a question reads: which resources' claims, over which time; and the frame it is answered in."""

from collections.abc import Iterable
from typing import Final

from scheduling import localtime
from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.facts import (
    START_AHEAD_MONTHS_MAX,
    Equipment,
    GridAnchor,
    Room,
    SlotRequest,
    StaticFacts,
    rules_of,
)
from scheduling.frame import Frame, duration_of, horizon_around, service_of
from scheduling.ids import gap_id
from scheduling.rules.max_daily import DailyLimit
from scheduling.rules.min_gap import Gap
from scheduling.rules.patient_limit import PatientLimits
from scheduling.rules.registry import MAX_DAILY
from scheduling.timeline import DAY_MIN, Horizon

_AHEAD_DAYS: Final = 31 * START_AHEAD_MONTHS_MAX  # so long before any start that may be booked lies the past


def resources_read(
    static: StaticFacts,
    request: SlotRequest,
    window: Horizon,
    *,
    rooms: Iterable[Room] | None = None,
    equipment: Iterable[Equipment] | None = None,
) -> tuple[str, ...]:
    """Return the ids of every resource whose claims decide about the window: what a store must fetch.

    Providers, rooms, equipment, the patient, and the quotas and gaps of the rules that bind the service. `rooms` and
    `equipment` are those that may be taken, when it is known that others cannot.
    """
    wanted = request.provider_ids
    providers = [p.id for p in static.providers if p.active and (wanted is None or p.id in wanted)]
    ids = [*providers, *(room.id for room in (static.rooms if rooms is None else rooms) if room.active)]
    ids.extend(item.id for item in (static.equipment if equipment is None else equipment) if item.active)
    if request.patient_id is not None:
        ids.append(request.patient_id)
    days = localtime.local_days(static.location.zone, window.start_min, window.end_min)
    for rule in rules_of(static, request.service_id):
        bound = [rule.provider_id] if rule.provider_id in providers else providers
        if rule.provider_id is not None and rule.provider_id not in providers:
            continue
        if isinstance(rule.payload, Gap):
            ids.extend(gap_id(rule.id, provider_id) for provider_id in bound if provider_id)
        elif isinstance(rule.payload, DailyLimit):
            ids.extend(
                MAX_DAILY.resource_id(rule, static.location.id, provider_id, day)
                for provider_id in bound
                if provider_id
                for day in days
            )
    return tuple(dict.fromkeys(ids))


def span_read(static: StaticFacts, request: SlotRequest, window: Horizon) -> Horizon:
    """Return the time over which claims are read: any claim that touches it must be in the busy facts."""
    service = service_of(static, request.service_id)
    duration = duration_of(service, request.duration_min)
    return horizon_around(window, service, duration, reach_min(static, request.service_id))


def patient_since_min(
    static: StaticFacts, service_id: str, start_min: int, provider_id: str | None = None
) -> int | None:
    """Return from when on a patient's visits decide about starts from `start_min` on; None when no rule looks at them.

    With a provider only the rules that bind it count. All visits ahead are in where a rule counts those.
    """
    rules = rules_of(static, service_id, provider_id)
    limits = [rule.payload for rule in rules if isinstance(rule.payload, PatientLimits)]
    if not limits:
        return None
    # A visit's local day may begin a day before it, and the start's own end a day after it.
    return start_min - (max(map(_days_back, limits)) + 2) * DAY_MIN


def _days_back(limit: PatientLimits) -> int:
    """Return how long before a start the visits begin that a limit counts."""
    return max(0 if limit.max_active is None else _AHEAD_DAYS, limit.min_days_between or 0)


def reach_min(static: StaticFacts, service_id: str) -> int:
    """Return how long after a visit's end the longest of its claims may last."""
    service = service_of(static, service_id)
    gaps = (
        rule.payload.min_gap_minutes for rule in rules_of(static, service_id) if isinstance(rule.payload, Gap)
    )
    return max(service.buffer_after_min, static.turnaround_max_min, *gaps)


def frame_for(
    static: StaticFacts,
    busy: BusyFacts,
    request: SlotRequest,
    *,
    window: Horizon,
    now_min: float,
    cache: DerivedCache,
    anchor: GridAnchor = GridAnchor.LOCAL_MIDNIGHT,
    keeps: bool = False,
) -> Frame:
    """Return the frame in which a question about the window is answered."""
    key = ("reach", static.serial, request.service_id)
    reach: int | None = cache.get(key)
    return Frame(
        static,
        busy,
        request,
        window=window,
        now_min=now_min,
        reach_min=cache.put(key, reach_min(static, request.service_id)) if reach is None else reach,
        cache=cache,
        anchor=anchor,
        keeps=keeps,
    )


def window_of_visit(static: StaticFacts, request: SlotRequest, start_min: int) -> Horizon:
    """Return the window that holds exactly one visit, starting at `start_min`."""
    duration = duration_of(service_of(static, request.service_id), request.duration_min)
    return Horizon(start_min, start_min + duration)
