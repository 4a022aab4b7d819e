"""From an event's bytes to what it changes in the projections."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from medforall.events.v1 import events_pb2

from availability_svc.calendars import CalendarChange, minutes_of_ms
from scheduling.facts import Claim


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """Something that a clinic sets up changed; no `location_ids` means that it touches all of them."""

    clinic_id: str
    location_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effects:
    """What an event changes. How `unknown_calendars` changed it does not tell: they are to be read anew."""

    event_id: str
    clinic_id: str
    calendars: tuple[CalendarChange, ...] = ()
    directory: DirectoryChange | None = None
    unknown_calendars: tuple[tuple[str, int], ...] = ()


def effects_of(data: bytes) -> Effects:
    """Return what an event changes. Raises google.protobuf's DecodeError for bytes that are no event."""
    event = events_pb2.Event.FromString(data)
    if event.WhichOneof("payload") == "directory":
        return Effects(
            event.event_id,
            event.clinic_id,
            directory=DirectoryChange(event.clinic_id, tuple(event.directory.location_ids)),
            unknown_calendars=tuple(
                (change.lock_id or change.resource_id, change.calendar_version) for change in event.resources
            ),
        )
    return Effects(event.event_id, event.clinic_id, calendars=tuple(_calendar_changes(event)))


def _calendar_changes(event: events_pb2.Event) -> Iterator[CalendarChange]:
    """Yield one change for each calendar: a provider's and those of its gaps are one."""
    by_calendar: dict[str, list[events_pb2.ResourceChange]] = {}
    for change in event.resources:
        by_calendar.setdefault(change.lock_id or change.resource_id, []).append(change)
    for calendar_id, changes in by_calendar.items():
        yield CalendarChange(
            clinic_id=event.clinic_id,
            calendar_id=calendar_id,
            version=max(change.calendar_version for change in changes),
            appointment_id=event.aggregate_id,
            claims=tuple(_claims(event.aggregate_id, changes)),
            touched=tuple(_touched(changes)),
        )


def _claims(appointment_id: str, changes: Iterable[events_pb2.ResourceChange]) -> Iterator[Claim]:
    for change in changes:
        for claim in change.claims:
            expires_ms = claim.expires_at_ms or claim.expires_at_s * 1_000
            yield Claim(
                change.resource_id,
                claim.unit,
                claim.start_min,
                claim.end_min,
                appointment_id,
                minutes_of_ms(expires_ms),
            )


def _touched(changes: Iterable[events_pb2.ResourceChange]) -> Iterator[tuple[int, int]]:
    for change in changes:
        for claim in (*change.claims, *change.claims_before):
            yield claim.start_min, claim.end_min
