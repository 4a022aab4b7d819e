"""The projection against PostgreSQL: whatever happens to events on their way, it ends up equal."""

import os
import random
from datetime import timedelta

import pytest

from availability_svc.calendars import CalendarChange, bucket_span, buckets_of
from availability_svc.places import place_of
from availability_svc.projection.events import effects_of
from availability_svc.store.documents import Document
from availability_svc.store.redis_projection import Pulse, Snapshot
from availability_svc.usecases.verify_projection import ProjectionCare
from availability_svc.wiring import Stores
from scheduling import localtime
from scheduling.facts import Claim
from tests.integration.availability.conftest import FIRST_DAY, World
from tests.support.availability_book import Book

STEPS = int(os.environ.get("MEDFORALL_SOAK_STEPS", "10500"))
SEED = int(os.environ.get("MEDFORALL_SOAK_SEED", "1"))
DAYS = 90


def _book(world: World, rng: random.Random) -> Book:
    clinic = world.clinic
    static = clinic.locations[0].static
    first = localtime.day_bounds(clinic.zone, FIRST_DAY)[0]
    last = localtime.day_bounds(clinic.zone, FIRST_DAY + timedelta(days=DAYS))[0]
    book = Book(
        clinic_id=clinic.id,
        static=static,
        patients=list(clinic.patient_ids),
        rng=rng,
        first_min=first,
        last_min=last,
    )
    book.load(world.database.owner_url)
    return book


def _snapshot(book: Book, calendar_id: str, bucket: int, gaps: tuple[str, ...]) -> Snapshot:
    claims = book.claims((calendar_id, *gaps), *bucket_span(bucket))
    return Snapshot(calendar_id, bucket, book.version.get(calendar_id, 0), claims)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEED])
def test_shuffled_duplicated_events_and_late_fills_leave_no_difference(
    world: World, stores: Stores, care: ProjectionCare, seed: int
) -> None:
    """T19, T22, T23: 10,000 entries, none read anew, equal SQL after events came twice, late and between old fills."""
    rng = random.Random(seed)
    book = _book(world, rng)
    document = stores.truth.location(book.clinic_id, book.static.location.id)
    assert document is not None
    place = place_of(book.clinic_id, document.text)
    numbers = buckets_of(book.first_min, book.last_min)
    often = [one for at, one in enumerate(place.calendar_ids) if at % 4]  # of the others, events come first
    for calendar_id in (*often, *book.patients):
        fills = [
            _snapshot(book, calendar_id, number, place.gap_ids.get(calendar_id, ())) for number in numbers
        ]
        assert stores.projection.fill(book.clinic_id, fills) == []

    on_the_way: list[tuple[float, list[CalendarChange] | Snapshot]] = []
    calendar_ids = (*place.calendar_ids, *book.patients[:20])
    events = 0
    for at in range(STEPS):
        event = book.step()
        if event is not None:
            events += 1
            changes = list(effects_of(event).calendars)
            on_the_way.append((at + (rng.random() * 60 if rng.random() < 0.1 else 0), changes))
            if rng.random() < 0.2:
                on_the_way.append((at + rng.random() * 200, changes))
        if rng.random() < 0.05:
            calendar_id = rng.choice(calendar_ids)
            late = _snapshot(book, calendar_id, rng.choice(numbers), place.gap_ids.get(calendar_id, ()))
            on_the_way.append((at + rng.random() * 100, late))
    _deliver(stores, book.clinic_id, [what for _, what in sorted(on_the_way, key=lambda item: item[0])])

    book.store(world.database.owner_url)
    by_events = care.verify(book.clinic_id)
    assert by_events.differences == []
    assert by_events.entries > 10_000
    care.warm(book.clinic_id, book.first_min, book.last_min)
    found = care.verify(book.clinic_id)
    assert found.differences == []
    assert found.entries >= by_events.entries
    assert found.documents == len(world.clinic.locations) + 1


def _deliver(stores: Stores, clinic_id: str, arriving: list[list[CalendarChange] | Snapshot]) -> None:
    """Hand over what arrives, in batches as the worker does."""
    batch: list[CalendarChange] = []
    for what in arriving:
        if isinstance(what, Snapshot):
            stores.projection.apply(batch)
            batch = []
            stores.projection.fill(clinic_id, [what])
        else:
            batch += what
            if len(batch) > 200:
                stores.projection.apply(batch)
                batch = []
    stores.projection.apply(batch)


def _change(clinic_id: str, calendar_id: str, version: int, *spans: tuple[int, int]) -> CalendarChange:
    appointment = "018f0000-0000-7000-8000-0000000000aa"
    claims = tuple(Claim(calendar_id, 1, start, end, appointment) for start, end in spans)
    return CalendarChange(clinic_id, calendar_id, version, appointment, claims, touched=((600, 2400),))


CLINIC = "018f0000-0000-7000-8000-000000000001"
CALENDAR = "018f0000-0000-7000-8000-000000000002"


def _spans(stores: Stores) -> list[tuple[int, int]] | None:
    bucket = stores.projection.buckets(CLINIC, [(CALENDAR, 0)]).get((CALENDAR, 0))
    if bucket is None:
        return None
    calendars = bucket.calendars.get(CALENDAR)
    return [] if calendars is None else [(claim.start_min, claim.end_min) for claim in calendars.claims]


def test_an_older_change_never_replaces_a_newer_one(stores: Stores) -> None:
    """T22: a late event of an earlier version changes nothing, not even after a cancellation."""
    stores.projection.fill(CLINIC, [Snapshot(CALENDAR, 0, 0, ())])
    stores.projection.apply([_change(CLINIC, CALENDAR, 2, (700, 730))])
    stores.projection.apply([_change(CLINIC, CALENDAR, 1, (600, 630))])
    assert _spans(stores) == [(700, 730)]
    stores.projection.apply([_change(CLINIC, CALENDAR, 4)])
    stores.projection.apply([_change(CLINIC, CALENDAR, 3, (900, 930))])
    assert _spans(stores) == []


def test_a_snapshot_older_than_what_was_seen_is_refused(stores: Stores) -> None:
    """T22: a fill read before an event was seen, from a replica that lags or a slow reader, is not kept."""
    assert stores.projection.apply([_change(CLINIC, CALENDAR, 5, (600, 630))]) == 1
    late = Snapshot(CALENDAR, 0, 4, ())
    assert stores.projection.fill(CLINIC, [late]) == [late]
    assert _spans(stores) is None
    assert (
        stores.projection.fill(
            CLINIC, [Snapshot(CALENDAR, 0, 5, _change(CLINIC, CALENDAR, 5, (600, 630)).claims)]
        )
        == []
    )
    assert _spans(stores) == [(600, 630)]


def test_a_snapshot_of_a_replica_is_kept_only_beside_a_floor(stores: Stores) -> None:
    """Nothing tells how far the replica is: its snapshot is refused; the primary's is kept, and then the replica's."""
    snapshot = Snapshot(CALENDAR, 0, 4, ())
    assert stores.projection.fill(CLINIC, [snapshot], from_replica=True) == [snapshot]
    assert _spans(stores) is None
    assert stores.projection.fill(CLINIC, [snapshot]) == []
    assert stores.projection.fill(CLINIC, [Snapshot(CALENDAR, 1, 4, ())], from_replica=True) == []


def test_a_fill_of_one_bucket_does_not_hide_a_change_from_another(stores: Stores) -> None:
    """An event that a later snapshot of one bucket contains is still applied to the calendar's other buckets."""
    stores.projection.fill(CLINIC, [Snapshot(CALENDAR, 0, 0, ())])
    stores.projection.fill(CLINIC, [Snapshot(CALENDAR, 1, 1, ())])
    stores.projection.apply([_change(CLINIC, CALENDAR, 1, (600, 630))])
    assert _spans(stores) == [(600, 630)]


def test_a_change_missing_for_long_makes_the_calendar_unread(stores: Stores) -> None:
    """A hole in the versions that does not close in time makes every bucket of the calendar invalid."""
    now = [1_000.0]
    stores.projection._now_s = lambda: now[0]
    stores.projection.fill(CLINIC, [Snapshot(CALENDAR, 0, 0, ())])
    stores.projection.apply([_change(CLINIC, CALENDAR, 2, (600, 630))])
    assert _spans(stores) == [(600, 630)]
    now[0] += 11
    assert _spans(stores) is None
    assert stores.projection.fill(CLINIC, [Snapshot(CALENDAR, 0, 2, ())]) == []
    assert _spans(stores) == []


def test_a_location_read_before_its_clinic_changed_is_not_kept(stores: Stores) -> None:
    """A document whose reading began before a directory change is refused; one read after it is kept."""
    part, document = (CLINIC, CALENDAR), Document(b"{}", 2**40)
    before = stores.projection.begin_document(CLINIC)
    stores.projection.directory_changed(CLINIC)
    assert not stores.projection.keep_document(part, before, document)
    assert stores.projection.document(part) is None
    after = stores.projection.begin_document(CLINIC)
    assert stores.projection.keep_document(part, after, document)
    assert stores.projection.document(part) == document
    stores.projection.directory_changed(CLINIC)
    assert stores.projection.document(part) is None


def test_the_pulse_tells_of_every_change(stores: Stores) -> None:
    """It differs after each event, a known one too, after something is forgotten and after the directory changed."""
    projection = stores.projection

    def pulse() -> Pulse:
        """Return it as a reader of a clinic that is there finds it."""
        projection.begin_document(CLINIC)
        return projection.begin_pulse(CLINIC)

    seen = [pulse()]

    def is_new() -> bool:
        seen.append(pulse())
        return seen[-1] not in seen[:-1]

    assert not is_new()
    projection.fill(CLINIC, [Snapshot(CALENDAR, 0, 0, ())])
    assert not is_new()
    projection.apply([_change(CLINIC, CALENDAR, 1, (600, 630))])
    assert is_new()
    projection.apply([_change(CLINIC, CALENDAR, 1, (600, 630))])
    assert is_new()
    projection.apply([_change(CLINIC, CALENDAR, 3, (700, 730))])
    assert is_new()
    for change in (
        lambda: projection.forget(CLINIC, [CALENDAR]),
        lambda: projection.apply([_change(CLINIC, CALENDAR, 4)]),
        lambda: projection.forget_clinic(CLINIC),
        lambda: projection.directory_changed(CLINIC),
        lambda: projection.follow_streams("others", "these"),
    ):
        change()
        assert is_new()
