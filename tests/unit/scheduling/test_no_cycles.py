"""What a question derives is freed when it is answered, not when the garbage collector comes by."""

import gc
from collections.abc import Callable

import pytest

from scheduling.busy import BusyFacts
from scheduling.derived import DerivedCache
from scheduling.explain import explain_slot
from scheduling.facts import Equipment, Room, Service, SlotRequest
from scheduling.judge import Proposal, judge
from scheduling.search import SearchQuery, search
from tests.unit.scheduling.clinic import at, clinic, provider, rule

CLINIC = clinic(
    rule("min_gap", min_gap_minutes=25),
    rule("max_daily", max_per_day=8),
    rule("required_equipment_type", equipment_type="ecg"),
    service=Service("service", 30, 15),
    providers=[provider("a"), provider("b")],
    rooms=[Room("room")],
    equipment=[Equipment("pool", "ecg", 2)],
)
CACHE, NOTHING, NOW = DerivedCache(), BusyFacts({}), at("00:00")


def judged() -> None:
    assert judge(CLINIC, NOTHING, Proposal("service", "a", at("10:00")), NOW, CACHE).is_accepted
    locked = Proposal("service", "a", at("10:00"), only_resources=frozenset({"room", "pool"}))
    assert judge(CLINIC, NOTHING, locked, NOW, CACHE).is_accepted
    assert not judge(CLINIC, NOTHING, Proposal("service", "a", at("03:00")), NOW, CACHE).is_accepted


def searched() -> None:
    found = search(
        CLINIC, NOTHING, SearchQuery(SlotRequest("service"), at("00:00"), at("00:00", 1)), NOW, CACHE
    )
    assert found.page(50)
    assert found.nearest(at("12:00"))


def explained() -> None:
    explain_slot(CLINIC, NOTHING, SlotRequest("service"), at("03:00"), now_min=NOW, cache=CACHE)


@pytest.mark.parametrize("ask", [judged, searched, explained])
def test_no_answer_leaves_garbage(ask: Callable[[], None]) -> None:
    """Nothing that was made for an answer holds itself, so nothing is left for the collector."""
    ask()  # what is kept for the next question is made
    gc.collect()
    gc.disable()
    try:
        ask()
        assert gc.collect() == 0
    finally:
        gc.enable()
