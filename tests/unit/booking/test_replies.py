"""What replies say of the model."""

from __future__ import annotations

from booking_svc.model import Conflicts, FreeSlot, RoomLabel, Taken
from booking_svc.rpc.replies import conflict_message
from chassis.interceptors.errors import status_of
from scheduling.errors import Conflict, Reason
from scheduling.facts import ResourceKind


def slot(start_min: int, text: str) -> FreeSlot:
    """A free slot with fifty rooms, whose every name is `text`."""
    return FreeSlot(
        start_min=start_min,
        end_min=start_min + 30,
        zone="UTC",
        location_id="location",
        provider_id="provider",
        provider_name=text,
        specialty=text,
        score=50,
        rooms=tuple(RoomLabel(str(number), text, text) for number in range(50)),
    )


def test_a_conflict_with_the_longest_names_loses_its_last_slots_alone() -> None:
    """However long the names are, the error keeps all that is taken and the nearest slots."""
    taken = tuple(Taken(ResourceKind.EQUIPMENT, str(n), Reason.EQUIPMENT_UNAVAILABLE) for n in range(10))
    slots = tuple(slot(60 * hour, "ä" * 100) for hour in (1, 2, 3))
    message = conflict_message(Conflicts(taken=taken, same_provider=slots, any_provider=slots))
    status = status_of(Conflict(details=(message,)), "request")
    assert any(detail.Is(message.DESCRIPTOR) for detail in status.details)
    assert len(message.taken) == 10
    assert 0 < len(message.same_provider) < 3
    assert message.same_provider[0].start == "1970-01-01T01:00:00+00:00"
