"""Slots written straight into bytes, page tokens, and freshness."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from medforall.availability.v1 import availability_pb2 as pb

from availability_svc.freshness import Freshness
from availability_svc.places import Place
from availability_svc.rpc.pages import page_token, parse_page_token
from availability_svc.rpc.slots import SlotWriter
from database.facts import Label, LocationFacts
from scheduling import localtime
from scheduling.errors import Invalid
from scheduling.facts import Location, StaticFacts
from scheduling.slots import Slot, SlotKey

PROVIDER = "018f0000-0000-7000-8000-00000000000a"
ROOMS = tuple(f"018f0000-0000-7000-8000-00000000010{number}" for number in range(4))
LOCATION = "018f0000-0000-7000-8000-00000000000c"


def _place(zone: str) -> Place:
    facts = LocationFacts(
        static=StaticFacts(Location(LOCATION, zone), (), ()),
        name="Quay",
        active=True,
        clinic_status="active",
        public_search=False,
        providers={PROVIDER: Label("Dr. Größe", "Cardiology")},
        rooms={room: Label(f"Room {room[-1]}" * 9, "exam") for room in ROOMS},
    )
    return Place("clinic", facts)


_SLOTS = st.builds(
    lambda start, length, rooms, score: Slot(start, start + length, PROVIDER, tuple(rooms), score),
    st.integers(29_000_000, 31_000_000),
    st.integers(5, 240),
    st.lists(st.sampled_from(ROOMS), unique=True),
    st.integers(0, 100),
)


@given(st.lists(_SLOTS, max_size=12), st.sampled_from(["America/New_York", "Asia/Kolkata", "Europe/Berlin"]))
def test_written_slots_are_what_the_generated_classes_read(slots: list[Slot], zone: str) -> None:
    """The bytes are a valid reply with every field of every slot, in order; twice over, to use what was kept."""
    writer, place = SlotWriter(), _place(zone)
    for _ in range(2):
        reply = pb.SearchSlotsResponse.FromString(writer.write(place, slots))
        assert len(reply.slots) == len(slots)
        for message, slot in zip(reply.slots, slots, strict=True):
            assert message.start == localtime.format_local(zone, slot.start_min)
            assert message.end == localtime.format_local(zone, slot.end_min)
            assert (message.start_utc.seconds, message.end_utc.seconds) == (
                slot.start_min * 60,
                slot.end_min * 60,
            )
            assert (message.provider.id, message.provider.name) == (PROVIDER, "Dr. Größe")
            assert [room.id for room in message.room_options] == list(slot.room_ids)
            assert (message.score, message.location_id) == (slot.score, LOCATION)
            assert message == writer.message(place, slot)


def test_a_page_token_belongs_to_its_search() -> None:
    """It gives back where the page ended, for the same search with any limit, and is refused for another."""
    request = pb.SearchSlotsRequest(
        clinic_id="c", service_id="s", location_id="l", start="a", end="b", limit=5
    )
    key = SlotKey(29_000_000, PROVIDER, 77)
    request.page_token = page_token(request, key)
    request.limit = 50
    assert parse_page_token(request) == key
    request.start = "another"
    with pytest.raises(Invalid):
        parse_page_token(request)


@given(st.text(max_size=60))
def test_made_up_page_tokens_are_refused(text: str) -> None:
    """Anything but a token is INVALID_ARGUMENT, never a fault."""
    request = pb.SearchSlotsRequest(page_token=text)
    if text:
        with pytest.raises(Invalid):
            parse_page_token(request)


def test_answers_say_how_fresh_they_are() -> None:
    """Stale while nothing is received or nothing was confirmed for long; the age grows from the last instant."""
    now = [datetime(2026, 11, 22, tzinfo=UTC)]
    freshness = Freshness(lambda: now[0])
    assert freshness.stamp().is_stale
    freshness.receiving(is_receiving=True)
    assert not freshness.stamp().is_stale
    now[0] += timedelta(seconds=4)
    assert freshness.stamp().is_stale
    assert freshness.stamp().age_ms == 4_000
    freshness.followed_until(now[0] - timedelta(milliseconds=200))
    freshness.followed_until(now[0] - timedelta(seconds=9))
    assert not freshness.stamp().is_stale
    assert freshness.stamp().age_ms == 200


def test_the_clock_is_the_databases() -> None:
    """A process whose clock is ten minutes slow searches by the database's time."""
    local = datetime(2026, 11, 22, tzinfo=UTC)
    freshness = Freshness(lambda: local)
    freshness.database_shows(local + timedelta(minutes=10), local)
    assert freshness.now() == local + timedelta(minutes=10)
