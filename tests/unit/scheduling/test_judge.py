"""Verdicts: what a visit takes, and the most telling reason when it is refused."""

import pytest

from scheduling import claims
from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.errors import Conflict, Invalid, NotFound, Reason, Refused
from scheduling.facts import (
    Equipment,
    EquipmentUnit,
    PatientFacts,
    PlannedClaim,
    Preference,
    ResourceKind,
    Room,
    RoomChoice,
    RoomMode,
    Schedule,
    Service,
    SlotRequest,
)
from scheduling.ids import gap_id, quota_id
from scheduling.judge import Proposal, judge
from scheduling.reading import resources_read, span_read
from scheduling.timeline import Horizon
from tests.unit.scheduling.clinic import DAY, at, claim, clinic, clocks, found, once, provider, rule, verdict

BUFFERED = Service("service", 30, 15, 120, buffer_before_min=5, buffer_after_min=10)
ROOMS = [Room("a"), Room("b", turnaround_min=20)]


def specific(room_id: str) -> RoomChoice:
    return RoomChoice(RoomMode.SPECIFIC, room_id)


def test_a_visit_takes_every_scarce_thing_for_its_own_time() -> None:
    """Provider and room with buffers, room with the longer turnaround, patient bare, gap after, quota all day."""
    gap, limit = rule("min_gap", min_gap_minutes=25), rule("max_daily", max_per_day=8)
    needs = rule("required_equipment_type", equipment_type="ecg")
    static = clinic(
        gap,
        limit,
        needs,
        service=BUFFERED,
        rooms=ROOMS,
        equipment=[Equipment("pool", "ecg", 2, turnaround_min=15)],
    )
    accepted = verdict(static, "10:00", patient=PatientFacts("patient"), room=specific("b"))
    quota, gaps = quota_id(limit.id, "location", DAY.date()), gap_id(gap.id, "provider")
    expected = {
        PlannedClaim("provider", 1, at("09:55"), at("10:40"), ResourceKind.PROVIDER, "provider"),
        PlannedClaim("b", 1, at("09:55"), at("10:50"), ResourceKind.ROOM, "b"),
        PlannedClaim("pool", 1, at("10:00"), at("10:45"), ResourceKind.EQUIPMENT, "pool"),
        PlannedClaim("patient", 1, at("10:00"), at("10:30"), ResourceKind.PATIENT, "patient"),
        PlannedClaim(gaps, 1, at("10:00"), at("10:55"), ResourceKind.GAP, "provider"),
        PlannedClaim(quota, 1, at("00:00"), at("00:00", 1), ResourceKind.QUOTA, quota),
    }
    assert set(accepted.claims) == expected
    assert list(accepted.claims) == sorted(accepted.claims, key=lambda c: (c.resource_id, c.unit))
    locks = claims.locks_of(accepted.claims)
    assert [name for name, _ in locks] == sorted({"provider", "b", "pool", "patient", quota})
    asked = SlotRequest("service", ("provider",), patient_id="patient")
    window = Horizon(at("10:00"), at("10:30"))
    assert {c.resource_id for c in accepted.claims} <= set(resources_read(static, asked, window))
    span = span_read(static, asked, window)
    assert all(
        span.start_min <= c.start_min and c.end_min <= span.end_min
        for c in accepted.claims
        if c.kind is not ResourceKind.QUOTA
    )


def test_nobody_in_particular_takes_no_patient_claim() -> None:
    """A hold without a patient, a walk-in, and a service that may overlap."""
    overlap = Service("service", 30, requires_room=False, allow_patient_overlap=True)
    taken = claim("patient", "10:00", "11:00")
    for accepted in (
        verdict(clinic(), "10:00", taken),
        verdict(clinic(), "10:00", taken, patient=PatientFacts("patient", is_placeholder=True)),
        verdict(clinic(service=overlap), "10:00", taken, patient=PatientFacts("patient")),
    ):
        assert accepted.is_accepted
        assert all(c.kind != ResourceKind.PATIENT for c in accepted.claims)
    refused = verdict(clinic(), "10:00", taken, patient=PatientFacts("patient"))
    assert [item.kind for item in refused.taken] == [ResourceKind.PATIENT]


def test_buffers_add_up_and_may_spill_over_closing() -> None:
    """After plus before lie between two visits; the first start of the day is the opening itself."""
    static = clinic(service=BUFFERED, rooms=ROOMS)
    busy = claim("provider", "09:55", "10:40")  # a visit of 10:00–10:30
    starts = clocks(found(static, busy))
    assert starts[0] == "09:00"
    assert [clock for clock in starts if clock < "11:15"] == ["09:00", "09:15", "10:45", "11:00"]
    assert starts[-1] == "16:30"


def test_buffers_within_hours_keep_inside_them() -> None:
    """When the service says so, its buffers need open time too."""
    inside = Service(
        "service",
        30,
        buffer_before_min=15,
        buffer_after_min=15,
        buffers_within_hours=True,
        requires_room=False,
    )
    starts = clocks(found(clinic(service=inside)))
    assert (starts[0], starts[-1]) == ("09:15", "16:15")


def test_a_room_is_chosen_by_preference_then_by_id() -> None:
    """The liked room first, the next free one when it is taken, the named one when one is named."""
    liking = provider("provider", preferences=(Preference(80, room_ids=("b",)),))
    static = clinic(service=BUFFERED, rooms=ROOMS, providers=[liking])
    assert verdict(static, "10:00").room_id == "b"
    assert verdict(static, "10:00", claim("b", "10:00", "10:05")).room_id == "a"
    assert verdict(static, "10:00", room=specific("a")).room_id == "a"
    assert verdict(static, "10:00", only_resources=frozenset({"a"})).room_id == "a"
    assert found(static).page(1)[0].room_ids == ("b", "a")


def test_a_room_takes_as_many_visits_as_it_may() -> None:
    """The second concurrent visit gets unit 2; a third is refused."""
    static = clinic(service=Service("service", 30), rooms=[Room("a", concurrent_visits=2)])
    one, two = claim("a", "10:00", "10:30"), claim("a", "10:00", "10:30", unit=2)
    assert verdict(static, "10:00", one).room_unit == 2
    refused = verdict(static, "10:00", one, two)
    assert [(item.kind, item.id, item.reason) for item in refused.taken] == [
        (ResourceKind.ROOM, "a", Reason.ROOM_ALREADY_BOOKED)
    ]


def test_a_room_that_must_be_there_cannot_be_left_out() -> None:
    """`none` suits a service without rooms only; a named room is taken even then."""
    with pytest.raises(Invalid):
        verdict(clinic(service=BUFFERED, rooms=ROOMS), "10:00", room=RoomChoice(RoomMode.NONE))
    without = clinic(rooms=ROOMS)
    assert verdict(without, "10:00").room_id is None
    assert verdict(without, "10:00", room=specific("a")).room_id == "a"
    with pytest.raises(NotFound):
        verdict(without, "10:00", room=specific("nowhere"))


def test_a_closed_room_is_not_a_taken_one() -> None:
    """The reason says whether a named room is shut, taken, or out of use."""
    shut = Room("a", schedule=Schedule((once("09:00", "12:00", "unavailable"),)))
    static = clinic(service=BUFFERED, rooms=[shut, Room("old", active=False)])
    assert verdict(static, "10:00", room=specific("a")).refusals[0].reason is Reason.OUTSIDE_HOURS
    assert (
        verdict(static, "13:00", claim("a", "13:00", "13:05")).refusals[0].reason
        is Reason.ROOM_ALREADY_BOOKED
    )
    assert verdict(static, "13:00", room=specific("old")).refusals[0].reason is Reason.RESOURCE_INACTIVE


def test_the_most_telling_reason_comes_first() -> None:
    """A taken slot on a full day is a taken slot; one outside hours is outside hours, taken or not."""
    limit = rule("max_daily", max_per_day=0)
    refused = verdict(clinic(limit), "10:00", claim("provider", "10:00", "10:30"))
    assert [refusal.reason for refusal in refused.refusals] == [
        Reason.SLOT_ALREADY_BOOKED,
        Reason.MAX_DAILY_REACHED,
    ]
    assert isinstance(refused.error(), Conflict)
    assert refused.error().metadata["resourceId"] == "provider"
    outside = verdict(clinic(), "08:00", claim("provider", "08:00", "08:30"))
    assert isinstance(outside.error(), Refused)
    assert outside.error().reason is Reason.OUTSIDE_HOURS


def test_an_override_breaks_soft_rules_and_no_claim() -> None:
    """Off the grid and on a blacked-out day with a reason; into a taken slot never."""
    static = clinic(rule("blackout_dates", dates=["2026-05-04"]))
    accepted = verdict(static, "10:07", is_override=True)
    assert [refusal.reason for refusal in accepted.overridden] == [Reason.OFF_GRID, Reason.BLACKOUT_DATE]
    refused = verdict(static, "10:07", claim("provider", "10:30", "11:00"), is_override=True)
    assert [refusal.reason for refusal in refused.refusals] == [Reason.SLOT_ALREADY_BOOKED]


def test_a_duration_is_one_the_service_allows() -> None:
    """Within bounds any minute; `end` must agree with it."""
    static = clinic(service=BUFFERED, rooms=ROOMS)
    assert verdict(static, "10:00", end_min=at("11:15")).end_min == at("11:15")
    with pytest.raises(Refused) as refused:
        verdict(static, "10:00", end_min=at("10:10"))
    assert refused.value.reason is Reason.DURATION_NOT_ALLOWED
    with pytest.raises(Invalid):
        verdict(static, "10:00", end_min=at("09:00"))
    with pytest.raises(Invalid):
        verdict(static, "10:00", end_min=at("10:30"), duration_min=45)


def test_what_is_unknown_or_out_of_use_is_refused() -> None:
    """Unknown service or provider: not found. Out of use: a reason of its own."""
    with pytest.raises(NotFound):
        verdict(clinic(), "10:00", service_id="unknown")
    with pytest.raises(NotFound):
        verdict(clinic(), "10:00", provider_id="unknown")
    with pytest.raises(Refused):
        verdict(clinic(service=Service("service", 30, active=False)), "10:00")
    retired = clinic(providers=[provider("provider", active=False)])
    assert verdict(retired, "10:00").refusals[0].reason is Reason.RESOURCE_INACTIVE


def test_an_expired_hold_and_ones_own_visit_do_not_stand_in_the_way() -> None:
    """A live hold does, to the second; the visit that is being moved does not."""
    now = at("08:00")
    hold = claim("provider", "10:00", "10:30", expires_min=now + 0.5)
    assert not verdict(clinic(), "10:00", hold, now=now).is_accepted
    assert verdict(clinic(), "10:00", hold, now=now + 0.5).is_accepted
    own = claim("provider", "10:00", "10:30", appointment_id="mine")
    assert verdict(clinic(), "10:15", own, ignore_appointment_ids=frozenset({"mine"})).is_accepted


def test_facts_of_another_patient_are_not_taken_for_this_one() -> None:
    """A forgotten read is a fault, not a free patient."""
    with pytest.raises(Invalid):
        judge(
            clinic(),
            BusyFacts(),
            Proposal("service", "provider", at("10:00"), patient_id="x"),
            0,
            DerivedCache(),
        )


def test_a_provider_in_two_places_is_offered_where_the_window_is() -> None:
    """Morning here, afternoon there; a claim in one place blocks the other."""
    here = once("09:00", "12:00", "available", location_id="location")
    there = once("13:00", "17:00", "available", location_id="elsewhere")
    static = clinic(providers=[provider("provider", here, there)])
    starts = clocks(found(static, claim("provider", "10:00", "10:30")))
    assert (starts[0], starts[-1]) == ("09:00", "11:30")
    assert "10:00" not in starts


def test_equipment_that_went_elsewhere_is_not_found() -> None:
    """Claims cannot be made again on an item that the location no longer has, and the caller is told which."""
    gone = claims.Visit("service", "provider", at("09:00"), at("09:30"), equipment=(EquipmentUnit("ecg", 1),))
    with pytest.raises(NotFound) as refused:
        claims.visit_claims(clinic(service=BUFFERED, rooms=ROOMS), gone)
    assert refused.value.metadata == {"resource": "equipment"}
