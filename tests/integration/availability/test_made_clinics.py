"""Clinics made to measure, where one search could spoil the next one's answer."""

from datetime import timedelta

import psycopg

from scheduling import localtime
from scheduling.facts import Rule
from scheduling.rules.registry import MAX_DAILY, parse_payload
from tests.integration.availability.asking import call, practice_search, take
from tests.integration.availability.conftest import World
from tests.support.availability_service import Running, metadata
from tests.support.practice import MONDAY, at, new_practice

NEW_YORK = "America/New_York"


async def test_each_window_reads_the_quotas_of_its_own_days(world: World, service: Running) -> None:
    """Two windows of one UTC day and of two local days in a row: the second finds its own day's limit reached."""
    practice = new_practice(world.database, zone=NEW_YORK)
    payload = {"max_per_day": 1}
    with psycopg.connect(practice.owner_url) as owner:
        rule_id = practice.add_rule(owner, "max_daily", **payload)
    rule = Rule(rule_id, "max_daily", parse_payload("max_daily", payload), practice.service)
    tuesday = MONDAY + timedelta(days=1)
    quota_id = MAX_DAILY.resource_id(rule, practice.location, practice.provider, tuesday)
    take(practice, quota_id, *localtime.day_bounds(NEW_YORK, tuesday))
    caller = metadata(world.signing, practice.clinic)
    late = practice_search(practice, at(21), at(23))
    early = practice_search(practice, at(8, day=tuesday), at(10, day=tuesday))
    assert (await call(service.stub.SearchSlots, late, caller)).slots
    assert not (await call(service.stub.SearchSlots, early, caller)).slots
