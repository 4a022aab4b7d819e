"""Demo clinics are the shipped document, multiplied: the same in every run, valid, and showing what the product can."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from ctl.seed.documents import PATIENTS, PROVIDERS, TEMPLATE, DemoClinic, demo_clinic, read_template
from ctl.seed.words import clinic_id
from ctl.transfer.checking import check
from scheduling.rules.registry import RULE_KINDS
from tests.support.command import ROOT

FIRST_DAY = date(2027, 3, 8)


def _clinic(number: int, seed: int = 1) -> DemoClinic:
    return demo_clinic(read_template(), number, seed=seed, first_day=FIRST_DAY)


def _trees(clinic: DemoClinic, section: str) -> list[dict[str, object]]:
    return [raw.tree for raw in clinic.entries() if raw.section == section]


def test_the_template_is_the_example() -> None:
    """The document that the demo is made from is the one that the examples show."""
    assert (ROOT / "examples" / "clinic.yaml").resolve() == TEMPLATE.resolve()


@pytest.mark.parametrize("number", [1, 2, 12, 13])
def test_every_document_is_without_fault(number: int) -> None:
    """What an import checks finds nothing wrong with a demo clinic."""
    clinic = _clinic(number)
    plan = check(clinic, clinic.id, {}, progress=lambda _: None)
    assert plan.faults == []
    assert plan.clinic is not None
    assert plan.patients == PATIENTS + 1


def test_people_are_born_by_the_day_of_a_seed_that_begins_as_far_ahead_as_any() -> None:
    """Visits may be 24 months ahead, and an import takes nobody who is to be born: all are older on the first day."""
    people = [
        tree for number in range(1, 6) for tree in _trees(_clinic(number), "patients") if tree.get("dob")
    ]
    youngest = max(date.fromisoformat(str(tree["dob"])) for tree in people)
    assert youngest < FIRST_DAY.replace(year=FIRST_DAY.year - 2)


def test_the_same_seed_makes_the_same_document() -> None:
    """Entries are equal in every run; another seed gives people other names, under the same ids."""
    assert _clinic(2) == _clinic(2)
    one, other = _clinic(2, seed=1), _clinic(2, seed=2)
    assert one != other
    assert one.id == other.id == clinic_id(2)
    for section in ("providers", "patients"):
        assert [tree["id"] for tree in _trees(one, section)] == [
            tree["id"] for tree in _trees(other, section)
        ]


def test_providers_bring_along_what_speaks_of_them() -> None:
    """Each copy has its original's windows, preferences and rules, and is allowed what the original is."""
    clinic = _clinic(1)
    providers = [tree["id"] for tree in _trees(clinic, "providers")]
    assert len(providers) == len(set(providers)) == PROVIDERS
    windows = Counter(tree["resource_id"] for tree in _trees(clinic, "windows"))
    liked = Counter(tree["provider_id"] for tree in _trees(clinic, "preferences"))
    for original in (raw.tree["id"] for raw in read_template() if raw.section == "providers"):
        assert windows[original] == windows[f"{original}-2"] > 0
        assert liked[original] == liked[f"{original}-2"]
    rules = {tree["id"]: tree for tree in _trees(clinic, "service_rules")}
    assert rules["ecg-by"]["rule_payload"] == {"provider_ids": ["dr-okafor", "dr-okafor-2"]}
    assert rules["okafor-limit-2"]["provider_id"] == "dr-okafor-2"


def test_the_demo_shows_what_the_product_can() -> None:
    """Three zones; two places and a provider at both; pools; every type of rule."""
    zones = [_trees(_clinic(number), "clinic")[0]["default_timezone"] for number in (1, 2, 3)]
    assert zones == ["America/New_York", "Europe/Berlin", "Asia/Kolkata"]
    clinic = _clinic(1)
    assert len(_trees(clinic, "locations")) == 2
    places = {(tree["resource_id"], tree.get("location_id")) for tree in _trees(clinic, "windows")}
    assert {("dr-okafor", "main"), ("dr-okafor", "west")} <= places
    assert any(int(str(tree.get("quantity", "1"))) > 1 for tree in _trees(clinic, "equipment"))
    assert {tree["rule_type"] for tree in _trees(clinic, "service_rules")} == set(RULE_KINDS)


def test_the_shortest_service_is_plain() -> None:
    """First steps take the shortest service without equipment: no rule binds it, so any hour will do."""
    clinic = _clinic(1)
    simple = [tree for tree in _trees(clinic, "services") if not tree.get("requires_equipment")]
    shortest = min(simple, key=lambda tree: int(str(tree["default_duration_min"])))
    assert all(
        rule.get("service_id") not in (None, shortest["id"]) for rule in _trees(clinic, "service_rules")
    )
