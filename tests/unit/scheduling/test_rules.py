"""Each rule type: what it accepts when it is written, and what it refuses when it is asked."""

from datetime import date
from typing import Any

import pytest

from scheduling.appointment import AppointmentStatus
from scheduling.errors import Invalid, Reason
from scheduling.facts import Claim, Equipment, PatientFacts, PatientVisit, Room, Rule, Service
from scheduling.ids import gap_id, quota_id
from scheduling.rules.registry import RULE_KINDS, kind_of, parse_payload
from tests.unit.scheduling.clinic import (
    DAY,
    at,
    claim,
    clinic,
    clocks,
    found,
    provider,
    rule,
    verdict,
)

ID = "0194f7a2-0000-7000-8000-00000000000a"
TODAY = DAY.date()


@pytest.mark.parametrize(
    ("rule_type", "payload", "field"),
    [
        ("unknown", {}, "rule_type"),
        ("allowed_provider", {}, "rule_payload.provider_ids"),
        ("allowed_provider", {"provider_ids": ["x"]}, "rule_payload.provider_ids[0]"),
        ("allowed_provider", {"provider_ids": ID}, "rule_payload.provider_ids"),
        ("required_equipment_type", {"min_units": 1}, "rule_payload.equipment_type"),
        ("required_equipment_type", {"equipment_type": "ecg", "min_units": 0}, "rule_payload.min_units"),
        ("room_type", {"room_type": " "}, "rule_payload.room_type"),
        ("min_gap", {"min_gap_minutes": 2.5}, "rule_payload.min_gap_minutes"),
        ("min_gap", {"min_gap_minutes": True}, "rule_payload.min_gap_minutes"),
        ("min_gap", {"min_gap_minutes": 5, "more": 1}, "rule_payload.more"),
        ("max_daily", {"max_per_day": -1}, "rule_payload.max_per_day"),
        ("max_daily", {"max_per_day": 1, "scope": "clinic"}, "rule_payload.scope"),
        ("lead_time", {}, "rule_payload.min_minutes"),
        ("lead_time", {"no_same_day": "yes"}, "rule_payload.no_same_day"),
        ("blackout_dates", {}, "rule_payload.dates"),
        ("blackout_dates", {"dates": ["2026-02-30"]}, "rule_payload.dates[0]"),
        (
            "blackout_dates",
            {"ranges": [{"from": "2026-02-02", "to": "2026-02-01"}]},
            "rule_payload.ranges[0]",
        ),
        ("patient_limit", {"max_active": 0}, "rule_payload.max_active"),
        ("patient_limit", {}, "rule_payload.max_active"),
        ("max_daily", {"max_per_day": None}, "rule_payload.max_per_day"),
        ("max_daily", {"max_per_day": float("nan")}, "rule_payload.max_per_day"),
        ("min_gap", {"min_gap_minutes": None}, "rule_payload.min_gap_minutes"),
        ("required_equipment_type", {"equipment_type": "ecg", "min_units": None}, "rule_payload.min_units"),
        ("lead_time", {"min_minutes": None}, "rule_payload.min_minutes"),
        ("lead_time", {"no_same_day": False}, "rule_payload.min_minutes"),
        ("patient_limit", {"min_days_between": None}, "rule_payload.min_days_between"),
        ("blackout_dates", {"dates": []}, "rule_payload.dates"),
        ("blackout_dates", {"dates": ["9999-12-31"]}, "rule_payload.dates[0]"),
        (
            "blackout_dates",
            {"ranges": [{"from": "2026-02-02", "to": "2200-02-01"}]},
            "rule_payload.ranges[0].to",
        ),
    ],
)
def test_a_malformed_payload_is_refused_by_field(
    rule_type: str, payload: dict[str, object], field: str
) -> None:
    """The violation names the field that is wrong."""
    with pytest.raises(Invalid) as refused:
        parse_payload(rule_type, payload)
    assert field in {violation.field for violation in refused.value.violations}


def test_whole_floats_are_whole_numbers() -> None:
    """A protobuf Struct knows no integers."""
    assert parse_payload("min_gap", {"min_gap_minutes": 15.0}) == parse_payload(
        "min_gap", {"min_gap_minutes": 15}
    )


def test_every_type_has_a_sentence() -> None:
    """What a rule says can be told to a person."""
    payloads: dict[str, dict[str, object]] = {
        "allowed_provider": {"provider_ids": [ID]},
        "required_equipment_type": {"equipment_type": "ecg"},
        "room_type": {"room_type": "exam"},
        "min_gap": {"min_gap_minutes": 5},
        "max_daily": {"max_per_day": 8, "scope": "provider"},
        "lead_time": {"min_minutes": 60, "no_same_day": True, "max_days_ahead": 30},
        "blackout_dates": {"dates": ["2026-12-25"]},
        "patient_limit": {"max_active": 2, "min_days_between": 7},
    }
    assert set(payloads) == set(RULE_KINDS)
    for rule_type, payload in payloads.items():
        made = Rule("rule", rule_type, parse_payload(rule_type, payload))
        assert kind_of(made).sentence(made).endswith(".")


def reasons(*args: object, **more: object) -> list[Reason]:
    return [refusal.reason for refusal in verdict(*args, **more).refusals]  # type: ignore[arg-type]


def test_allowed_provider_shuts_out_the_others() -> None:
    """Only named providers are offered; another one is refused by name of the rule."""
    only = rule("allowed_provider", provider_ids=[ID])
    static = clinic(only, providers=[provider("provider"), provider(ID)])
    assert {who for _, who in found(static).nearest(0)} == {ID}
    assert reasons(static, "10:00") == [Reason.PROVIDER_NOT_ALLOWED]


def test_required_equipment_is_put_together_from_several_items() -> None:
    """Two units come from two items of one; when one is taken, nothing is offered then."""
    needs = rule("required_equipment_type", equipment_type="ecg", min_units=2)
    static = clinic(needs, equipment=[Equipment("a", "ecg"), Equipment("b", "ecg", turnaround_min=20)])
    accepted = verdict(static, "10:00")
    assert [(unit.equipment_id, unit.unit) for unit in accepted.equipment] == [("a", 1), ("b", 1)]
    assert [c.end_min - c.start_min for c in accepted.claims if c.kind == "equipment"] == [30, 50]
    taken = claim("b", "10:00", "10:10")
    assert reasons(static, "09:15", taken) == [Reason.EQUIPMENT_UNAVAILABLE]
    assert verdict(static, "09:15", taken).taken[0].kind == "equipment"
    assert reasons(static, "10:15", taken) == []


def test_a_pool_is_judged_by_unit() -> None:
    """Two half-used units do not make a whole one: neither is free for all of the visit."""
    needs = rule("required_equipment_type", equipment_type="ecg")
    static = clinic(needs, equipment=[Equipment("pool", "ecg", 2)])
    halves = [claim("pool", "10:00", "10:15"), claim("pool", "10:15", "10:30", unit=2)]
    assert reasons(static, "10:00", *halves) == [Reason.EQUIPMENT_UNAVAILABLE]
    assert reasons(static, "10:30", *halves) == []


def test_use_above_a_lowered_capacity_counts() -> None:
    """A pool of two with a visit on its former third unit has room for one more, not for two."""
    one, two = (rule("required_equipment_type", equipment_type="ecg", min_units=n) for n in (1, 2))
    former = claim("pool", "10:00", "10:30", unit=3)
    pool = [Equipment("pool", "ecg", 2)]
    assert reasons(clinic(one, equipment=pool), "10:00", former) == []
    assert reasons(clinic(two, equipment=pool), "10:00", former) == [Reason.EQUIPMENT_UNAVAILABLE]


def test_room_type_leaves_only_rooms_of_the_type() -> None:
    """The other rooms are no options; without any, the reason says so."""
    service = Service("service", 30)
    rooms = [Room("one", "exam"), Room("two", "surgery")]
    static = clinic(rule("room_type", room_type="surgery"), service=service, rooms=rooms)
    assert found(static).page(1)[0].room_ids == ("two",)
    missing = clinic(rule("room_type", room_type="mri"), service=service, rooms=rooms)
    assert Reason.ROOM_TYPE in reasons(missing, "10:00")


def test_min_gap_holds_in_both_directions() -> None:
    """A visit from 10:00 to 10:30 with a gap of 15 leaves 9:15 and 10:45 as the nearest starts."""
    gap = rule("min_gap", min_gap_minutes=15)
    static = clinic(gap)
    other = [claim("provider", "10:00", "10:30"), claim(gap_id(gap.id, "provider"), "10:00", "10:45")]
    starts = clocks(found(static, *other))
    assert [clock for clock in starts if "09:00" <= clock <= "11:00"] == ["09:00", "09:15", "10:45", "11:00"]
    assert reasons(static, "10:30", *other) == [Reason.MIN_GAP]


def quota(
    limit: Rule, units: list[int], day: date = TODAY, who: str | None = None, **more: Any
) -> list[Claim]:
    resource_id = quota_id(limit.id, "location", day, who)
    return [claim(resource_id, "00:00", "23:59", unit=n, appointment_id=f"q{n}", **more) for n in units]


def test_max_daily_counts_live_claims_of_the_local_day() -> None:
    """The day is full at the limit, the next one is not, and an expired hold does not count."""
    limit = rule("max_daily", max_per_day=2)
    static = clinic(limit)
    assert reasons(static, "10:00", *quota(limit, [1, 2])) == [Reason.MAX_DAILY_REACHED]
    assert reasons(static, "10:00", *quota(limit, [1, 2]), days=1) == []
    expired = [*quota(limit, [1]), *quota(limit, [2], expires_min=at("00:00", -2))]
    assert reasons(static, "10:00", *expired) == []


def test_a_normal_visit_takes_the_lowest_unit_and_an_override_the_next_above_all() -> None:
    """Units only guard the race: a freed one is used again, a visit over the limit lies above all used."""
    limit = rule("max_daily", max_per_day=3)
    static = clinic(limit)

    def unit(*units: int, **more: object) -> int:
        accepted = verdict(static, "10:00", *quota(limit, list(units)), **more)  # type: ignore[arg-type]
        return next(c.unit for c in accepted.claims if c.kind == "quota")

    assert unit() == 1
    assert unit(1, 3) == 2
    assert unit(2, 5) == 1
    assert unit(1, 2, 5, is_override=True) == 6
    overridden = verdict(static, "10:00", *quota(limit, [1, 2, 3]), is_override=True).overridden
    assert [refusal.reason for refusal in overridden] == [Reason.MAX_DAILY_REACHED]


def test_a_limit_for_each_provider_leaves_the_others_free() -> None:
    """One provider's full day is not another's."""
    limit = rule("max_daily", max_per_day=1, scope="provider")
    static = clinic(limit, providers=[provider("provider"), provider("second")])
    assert {who for _, who in found(static, *quota(limit, [1], who="provider")).nearest(0)} == {"second"}


def test_lead_time_counts_from_now_in_minutes_and_days() -> None:
    """Half a minute past the hour is too late for the hour; the day after the last one ahead is too far."""
    static = clinic(rule("lead_time", min_minutes=60))
    assert clocks(found(static, now=at("09:00") + 0.5))[0] == "10:15"
    assert clocks(found(static, now=at("09:00")))[0] == "10:00"
    ahead = clinic(rule("lead_time", no_same_day=True, max_days_ahead=1))
    assert reasons(ahead, "16:00", now=at("09:00")) == [Reason.LEAD_TIME]
    assert reasons(ahead, "09:00", now=at("23:00"), days=1) == []
    assert reasons(ahead, "09:00", now=at("09:00"), days=2) == [Reason.TOO_FAR_AHEAD]


def test_the_past_is_refused_always_and_overridden_for_a_week() -> None:
    """Staff may write down a visit of yesterday, nobody one of last month, nor one in three years."""
    static = clinic()
    assert reasons(static, "10:00", now=at("10:00") + 0.01) == [Reason.LEAD_TIME]
    assert reasons(static, "10:00", now=at("10:00", 1), is_override=True) == []
    assert reasons(static, "10:00", now=at("10:00", 9), is_override=True) == [Reason.LEAD_TIME]
    assert reasons(static, "10:00", days=800, is_override=True) == [Reason.TOO_FAR_AHEAD]


def test_blackout_dates_are_local_days() -> None:
    """The day named and the days of a range are out, their neighbours are not."""
    static = clinic(
        rule("blackout_dates", dates=["2026-05-04"], ranges=[{"from": "2026-05-06", "to": "2026-05-07"}])
    )
    assert [reasons(static, "10:00", days=n) for n in range(5)] == [
        [Reason.BLACKOUT_DATE],
        [],
        [Reason.BLACKOUT_DATE],
        [Reason.BLACKOUT_DATE],
        [],
    ]


def visit(days: int, status: AppointmentStatus = AppointmentStatus.SCHEDULED, **more: object) -> PatientVisit:
    start = at("10:00", days)
    values: dict[str, object] = {"appointment_id": f"v{days}", "service_id": "service"}
    return PatientVisit(start_min=start, end_min=start + 30, status=status, **(values | more))  # type: ignore[arg-type]


def test_patient_limit_counts_active_future_visits() -> None:
    """Cancelled, past and other services' visits do not count, nor the one that is being moved."""
    static = clinic(rule("patient_limit", max_active=1))
    limited = Rule(
        "r", "patient_limit", parse_payload("patient_limit", {"max_active": 1}), service_id="service"
    )
    narrow = clinic(limited)

    def asked(facts: object, *visits: PatientVisit, **more: object) -> list[Reason]:
        return reasons(facts, "15:00", patient=PatientFacts("patient", visits), **more)

    assert asked(static, visit(3)) == [Reason.PATIENT_LIMIT]
    assert asked(static, visit(3, AppointmentStatus.CANCELED)) == []
    assert asked(static, visit(-9)) == []
    assert asked(narrow, visit(3, service_id="another")) == []
    assert asked(static, visit(3), ignore_appointment_ids=frozenset({"v3"})) == []
    assert asked(static, visit(3), is_override=True) == []


def test_patient_limit_keeps_local_days_between_visits() -> None:
    """Seven days between means the same weekday next week at the earliest, before and after."""
    static = clinic(rule("patient_limit", min_days_between=7))
    patient = PatientFacts("patient", (visit(0), visit(-20, AppointmentStatus.NO_SHOW)))
    assert [reasons(static, "10:00", days=n, patient=patient) == [] for n in (1, 6, 7, 0)] == [
        False,
        False,
        True,
        False,
    ]
    walk_in = PatientFacts("patient", (visit(0),), is_placeholder=True)
    assert reasons(static, "10:00", days=1, patient=walk_in) == []


def test_rules_are_reported_by_priority() -> None:
    """Of two rules with the same reason, the one with the greater priority comes first."""
    payload = parse_payload("lead_time", {"min_minutes": 5000})
    static = clinic(
        Rule("low", "lead_time", payload, priority=1), Rule("high", "lead_time", payload, priority=9)
    )
    assert [refusal.rule_id for refusal in verdict(static, "10:00").refusals] == ["high", "low"]


def test_a_rule_for_one_provider_binds_no_other() -> None:
    """`provider_id` narrows any rule."""
    blackout = parse_payload("blackout_dates", {"dates": ["2026-05-04"]})
    static = clinic(
        Rule("r", "blackout_dates", blackout, provider_id="second"),
        providers=[provider("provider"), provider("second")],
    )
    assert {who for _, who in found(static).nearest(0)} == {"provider"}
