"""What a process remembers: right for as long as the clinic's pulse, asked for seldom, and never longer."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest

from availability_svc.calendars import CalendarChange
from availability_svc.layers import Layer, LayerCounters
from availability_svc.places import Place
from availability_svc.store import calendar_source
from availability_svc.store import pulses as pulses_module
from availability_svc.store.calendar_source import CalendarSource, Wanted
from availability_svc.store.location_source import LocationSource
from availability_svc.store.pulses import Pulses
from availability_svc.wiring import Stores, build_stores
from chassis.metrics import Metrics
from ctl.ports import free_port
from scheduling.clock import instant_of
from scheduling.errors import NotFound, Unavailable
from scheduling.facts import Claim
from tests.integration.availability.conftest import World
from tests.support.waiting import wait_until

BUCKET = 1_500
SPAN = (BUCKET * 20_160 + 600, BUCKET * 20_160 + 630)
VISIT = "018f0000-0000-7000-8000-0000000000aa"


class Memory:
    """The sources with a clock of their own, and the commands that they send to Redis."""

    def __init__(self, stores: Stores) -> None:
        self.now_s = 1_000.0
        self.stores = stores
        clock = lambda: self.now_s  # noqa: E731
        pulses, counters = Pulses(stores.projection, now_s=clock), LayerCounters(Metrics())
        self.pulses = pulses
        bounds: dict[str, Any] = {"bytes_max": 10_000_000, "now_s": clock}
        self.locations = LocationSource(stores.truth, stores.projection, pulses, counters, **bounds)
        self.calendars = CalendarSource(stores.truth, stores.projection, pulses, counters, **bounds)

    def read(self, place: Place) -> tuple[Any, Layer]:
        ids = tuple((calendar_id, BUCKET) for calendar_id in place.calendar_ids)
        return self.calendars.read(place, Wanted(("all",), lambda: ids), {})


@pytest.fixture
def memory(stores: Stores) -> Memory:
    return Memory(stores)


@pytest.fixture
def sent(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """How many names each MGET since the last look had."""
    client = memory.stores.cache.client
    original, seen = client.mget, []

    def counted(names: Sequence[str]) -> Any:
        seen.append(len(names))
        return original(names)

    monkeypatch.setattr(client, "mget", counted)

    def look() -> list[int]:
        found = list(seen)
        seen.clear()
        return found

    return look


def _place(memory: Memory, world: World) -> Place:
    return memory.locations.get(world.clinic.id, world.location_id)[0]


def _spans(calendars: Any, calendar_id: str) -> set[tuple[int, int]]:
    found = calendars.get(calendar_id, ())
    return {(claim.start_min, claim.end_min) for calendar in found for claim in calendar.claims}


def test_one_small_question_in_ten_seconds_keeps_a_whole_place_right(
    memory: Memory, world: World, sent: Callable[[], list[int]]
) -> None:
    """Nothing has changed: the place and all its calendars are the same objects, for two names asked in ten seconds."""
    place = _place(memory, world)
    calendars, layer = memory.read(place)
    assert layer is Layer.DATABASE
    for _ in range(3):
        sent()
        memory.now_s += 11
        assert memory.locations.get(world.clinic.id, world.location_id) == (place, Layer.L2)
        again, layer = memory.read(place)
        assert again is calendars
        assert layer is Layer.L1
        assert sent() == [2]


def test_a_change_nobody_told_of_is_seen_within_ten_seconds(memory: Memory, world: World) -> None:
    """Another process projected a change, and this one heard of nothing: its next question tells."""
    place = _place(memory, world)
    calendar_id = place.calendar_ids[0]
    before, _ = memory.read(place)
    version = memory.stores.projection.buckets(world.clinic.id, [(calendar_id, BUCKET)])[calendar_id, BUCKET]
    claims = (Claim(calendar_id, 1, *SPAN, VISIT),)
    change = CalendarChange(
        world.clinic.id, calendar_id, version.coverage.upto + 1, VISIT, claims, touched=(SPAN,)
    )
    assert memory.stores.projection.apply([change]) == 1
    assert memory.read(place)[0] is before
    memory.now_s += 11
    after, layer = memory.read(place)
    assert layer is Layer.L2
    assert SPAN in _spans(after, calendar_id)
    others = [one for one in place.calendar_ids[1:] if one in before]
    assert all(after[one][0] is before[one][0] for one in others)


def test_a_changed_directory_is_seen_within_ten_seconds(memory: Memory, world: World) -> None:
    """A document whose clinic has changed is read again, and what it says is compared with what is known."""
    place = _place(memory, world)
    memory.stores.projection.directory_changed(world.clinic.id)
    assert memory.locations.get(world.clinic.id, world.location_id) == (place, Layer.L1)
    memory.now_s += 11
    again, layer = memory.locations.get(world.clinic.id, world.location_id)
    assert layer is Layer.DATABASE
    assert again is place


def test_a_change_heard_after_it_was_read_costs_nothing(
    memory: Memory, world: World, sent: Callable[[], list[int]]
) -> None:
    """Its event comes when the change is remembered already: the calendar stays remembered, and nobody is asked."""
    place = _place(memory, world)
    memory.read(place)
    calendar_id = place.calendar_ids[0]
    bucket = memory.calendars._kept.get_outdated((world.clinic.id, calendar_id, BUCKET))
    assert bucket is not None
    memory.calendars.changed(world.clinic.id, [(calendar_id, bucket.coverage.upto)])
    sent()
    first, layer = memory.read(place)
    assert layer is Layer.L1
    again, layer = memory.read(place)
    assert (again is first, layer, sent()) == (True, Layer.L1, [])


def test_what_is_read_is_right_by_the_pulse_for_an_hour_only(
    memory: Memory, world: World, sent: Callable[[], list[int]]
) -> None:
    """Redis may come back as it was before a change: an hour after it was read everything is asked for anew."""
    place = _place(memory, world)
    calendars, _ = memory.read(place)
    memory.now_s += 3_590
    sent()
    assert (_place(memory, world) is place, memory.read(place)[0] is calendars) == (True, True)
    assert sent() == [2]
    memory.now_s += 11
    assert _place(memory, world) is place
    memory.read(place)
    assert sent()[:2] == [2, 2]
    assert memory.read(place)[1] is Layer.L1
    memory.now_s += 11
    sent()
    assert (_place(memory, world) is place, memory.read(place)[1]) == (True, Layer.L1)
    assert sent() == [2]


@pytest.mark.parametrize("has_redis", [True, False])
def test_a_replica_that_lags_is_not_believed_where_nothing_tells_how_far_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, has_redis: bool
) -> None:
    """Redis is empty or away, and the replica is behind a change: the search sees the change."""
    away = {} if has_redis else {"MEDFORALL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    replica = {"MEDFORALL_REPLICA_DATABASE_URL": world.database.app_url}
    stores = build_stores(world.settings(**away, **replica), Metrics())
    stores.truth.open()
    assert stores.truth.has_replica
    memory = Memory(stores)
    place = _place(memory, world)
    original = stores.truth.stretches
    replicated: dict[Any, Any] = {}

    def lagging(clinic_id: str, stretches: Any, *, from_replica: bool = False) -> Any:
        found = original(clinic_id, stretches, from_replica=from_replica)
        return replicated.setdefault(tuple(stretches), found) if from_replica else found

    monkeypatch.setattr(stores.truth, "stretches", lagging)
    memory.read(place)
    calendar_id = place.calendar_ids[0]
    _change(world, calendar_id, _INSERT_CLAIM)
    try:
        if has_redis:
            stores.cache.client.flushdb()
        memory.calendars.clear()
        assert SPAN in _spans(memory.read(place)[0], calendar_id)
        assert replicated
    finally:
        _change(world, calendar_id, _DELETE_CLAIM)
        stores.truth.close()
        stores.cache.client.close()


def test_a_clinic_that_is_not_there_leaves_nothing(memory: Memory, world: World) -> None:
    """Whoever asks for places of made-up clinics makes no key in Redis and nothing that is remembered."""
    for _ in range(3):
        with pytest.raises(NotFound):
            memory.locations.get(str(uuid4()), str(uuid4()))
    assert memory.stores.cache.client.dbsize() == 0
    assert len(memory.pulses._seen) == 0


def test_one_asks_for_a_pulse_while_the_others_go_by_what_was_seen(
    memory: Memory, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is slow to tell a pulse: a second caller does not wait for it, nor ask too; away, nobody trusts the old."""
    memory.read(_place(memory, world))
    seen, _ = memory.pulses.of(world.clinic.id)
    original, asked, go_on = memory.stores.projection.pulse, Event(), Event()

    def slow(clinic_id: str) -> Any:
        assert not asked.is_set()
        asked.set()
        assert go_on.wait(20)
        return original(clinic_id)

    monkeypatch.setattr(memory.stores.projection, "pulse", slow)
    memory.now_s += 11
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(memory.pulses.of, world.clinic.id)
        assert asked.wait(20)
        assert memory.pulses.of(world.clinic.id) == (seen, Layer.L1)
        go_on.set()
        assert first.result(20) == (seen, Layer.L2)
    memory.now_s += 11

    def away(clinic_id: str) -> Any:
        raise Unavailable("away")

    monkeypatch.setattr(memory.stores.projection, "pulse", away)
    assert [memory.pulses.of(world.clinic.id)[0] for _ in range(2)] == [None, None]


def test_of_many_clinics_the_pulses_seen_longest_ago_are_forgotten(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for two: the third takes the place of the first, and the second is not asked for again."""
    monkeypatch.setattr(pulses_module, "_CLINICS_MAX", 2)
    clinics = [str(uuid4()) for _ in range(3)]
    for clinic_id in clinics:
        memory.stores.projection.begin_document(clinic_id)
        assert memory.pulses.of(clinic_id, exists=True)[1] is Layer.L2
    assert [memory.pulses.of(clinic_id)[1] for clinic_id in reversed(clinics)] == [
        Layer.L1,
        Layer.L1,
        Layer.L2,
    ]


def test_what_is_assembled_counts_its_share_of_the_buckets_and_keeps_them_in_use(
    memory: Memory, world: World
) -> None:
    """A place's calendars hold their buckets: they count for more than a dictionary, and their use is the buckets'."""
    place = _place(memory, world)
    memory.read(place)
    buckets = memory.calendars._kept
    assert memory.calendars._assembled.size_bytes > buckets.size_bytes // calendar_source._HELD_SHARE
    of_place = list(buckets._entries)
    other = (place.calendar_ids[0], BUCKET + 1)
    memory.calendars.buckets(place, [other], {})
    assert list(buckets._entries) == [*of_place, (world.clinic.id, *other)]
    memory.now_s += 11
    memory.read(place)
    assert list(buckets._entries) == [(world.clinic.id, *other), *of_place]


@pytest.mark.parametrize("has_redis", [True, False])
def test_whoever_comes_after_a_change_does_not_get_what_was_read_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch, has_redis: bool
) -> None:
    """A change is heard while somebody reads: who comes then, and everybody later, gets the change too."""
    away = {} if has_redis else {"MEDFORALL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    stores = build_stores(world.settings(**away), Metrics())
    stores.truth.open()
    memory = Memory(stores)
    place = _place(memory, world)
    calendar_id = place.calendar_ids[0]
    original, has_read, go_on = stores.truth.stretches, Event(), Event()

    def slow(clinic_id: str, stretches: Any, **options: Any) -> Any:
        found = original(clinic_id, stretches, **options)
        if not has_read.is_set():
            has_read.set()
            assert go_on.wait(20)
        return found

    monkeypatch.setattr(stores.truth, "stretches", slow)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(memory.read, place)
        assert has_read.wait(20)
        version = _change(world, calendar_id, _INSERT_CLAIM)
        memory.calendars.changed(world.clinic.id, [(calendar_id, version)])
        second = threads.submit(memory.read, place)
        flights = memory.calendars._flights
        wait_until(lambda: _waiting(flights) > 0, what="the second to wait for the first")
        go_on.set()
        first.result(20)
        assert SPAN in _spans(second.result(20)[0], calendar_id)
    assert SPAN in _spans(memory.read(place)[0], calendar_id)
    _change(world, calendar_id, _DELETE_CLAIM)
    stores.truth.close()
    stores.cache.client.close()


def _waiting(flights: Any) -> int:
    """Return how many wait for what somebody else is loading."""
    return max((len(flight._condition._waiters) for flight in flights._loading.values()), default=0)


_INSERT_CLAIM: Final = """
INSERT INTO claim (clinic_id, resource_id, unit, starts_at, ends_at, during, appointment_id)
VALUES (%(clinic)s, %(calendar)s, 1, %(start)s, %(end)s, tstzrange(%(start)s, %(end)s), %(visit)s)
"""

_DELETE_CLAIM: Final = """
DELETE FROM claim WHERE clinic_id = %(clinic)s AND resource_id = %(calendar)s AND appointment_id = %(visit)s
"""


def _change(world: World, calendar_id: str, statement: str) -> int:
    """Change what is taken in SPAN, and return the calendar's new version."""
    what = {
        "clinic": world.clinic.id,
        "calendar": calendar_id,
        "start": instant_of(SPAN[0]),
        "end": instant_of(SPAN[1]),
        "visit": VISIT,
    }
    with psycopg.connect(world.database.owner_url) as owner:
        owner.execute(statement, what)
        row = owner.execute(
            "UPDATE resource SET calendar_version = calendar_version + 1"
            " WHERE clinic_id = %(clinic)s AND id = %(calendar)s RETURNING calendar_version",
            what,
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_lookups_of_locations_are_counted(world: World, stores: Stores) -> None:
    """A location that is remembered is a hit in memory, one that is not a miss there."""
    metrics = Metrics()
    pulses, counters = Pulses(stores.projection), LayerCounters(metrics)
    locations = LocationSource(stores.truth, stores.projection, pulses, counters, bytes_max=10_000_000)

    def seen(result: str) -> float:
        return metrics.cache_requests.labels("l1", result)._value.get()  # type: ignore[no-any-return]

    for _ in range(3):
        locations.get(world.clinic.id, world.location_id)
    assert (seen("hit"), seen("miss")) == (2, 1)
