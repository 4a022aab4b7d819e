"""Which channels hear an event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from medforall.events.v1 import events_pb2 as events

from scheduling.channels import (
    Channel,
    ChannelKind,
    clinic_channel,
    location_channel,
    parse_channel,
    patient_channel,
    provider_channel,
)
from scheduling.errors import Invalid
from scheduling.localtime import local_days

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LocationDays:
    """The day channels of some locations, `[first_day, last_day]`, ISO days; empty means unbounded, no ids all."""

    location_ids: frozenset[str]
    first_day: str = ""
    last_day: str = ""

    def holds(self, channel: Channel) -> bool:
        """Tell whether `channel` is one of them."""
        if channel.kind is not ChannelKind.LOCATION:
            return False
        if self.location_ids and channel.id not in self.location_ids:
            return False
        return self.first_day <= channel.day and (not self.last_day or channel.day <= self.last_day)


@dataclass(frozen=True, slots=True)
class Audience:
    """Channels by name, and, for what a clinic sets up, by what they have in common."""

    names: frozenset[str]
    location_days: LocationDays | None = None
    every_provider: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the names are all."""
        return self.location_days is None and not self.every_provider

    def among(self, channels: Iterable[str]) -> list[str]:
        """The ones of `channels` that hear it."""
        if self.is_exact:
            return [name for name in channels if name in self.names]
        return [name for name in channels if name in self.names or self._holds(parse_channel(name))]

    def _holds(self, channel: Channel) -> bool:
        if self.every_provider and channel.kind is ChannelKind.PROVIDER:
            return True
        return self.location_days is not None and self.location_days.holds(channel)


def appointment_audience(clinic_id: str, snapshots: Iterable[events.AppointmentSnapshot]) -> Audience:
    """The clinic, and provider, patient and local days of where the visit is and was."""
    names = {clinic_channel(clinic_id)}
    for snapshot in snapshots:
        names.add(provider_channel(snapshot.provider_id))
        names.update(_days(snapshot))
        if snapshot.patient_id:
            names.add(patient_channel(snapshot.patient_id))
    return Audience(frozenset(names))


def _days(snapshot: events.AppointmentSnapshot) -> set[str]:
    start_min = snapshot.start_utc.seconds // 60
    end_min = max(start_min + 1, snapshot.end_utc.seconds // 60)
    try:
        days = local_days(snapshot.timezone, start_min, end_min)
    except Invalid:
        # As its times are told: in UTC rather than not at all.
        days = local_days("UTC", start_min, end_min)
    return {location_channel(snapshot.location_id, day) for day in days}


def directory_audience(clinic_id: str, change: events.DirectoryChanged) -> Audience:
    """Who hears that something was set up differently: the clinic, and the provider whom it is about."""
    names = {clinic_channel(clinic_id)}
    if change.provider_id:
        names.add(provider_channel(change.provider_id))
    return Audience(frozenset(names))


def availability_audience(clinic_id: str, change: events.DirectoryChanged) -> Audience:
    """Who hears that availability may differ: the clinic, the days concerned, and the providers concerned."""
    days = LocationDays(frozenset(change.location_ids), *_day_span(change))
    return Audience(directory_audience(clinic_id, change).names, days, every_provider=not change.provider_id)


def _day_span(change: events.DirectoryChanged) -> tuple[str, str]:
    """The days between the edges, one more on each side: they are local days of any zone."""
    first = _utc(change.affects_from) - _DAY if change.HasField("affects_from") else None
    last = _utc(change.affects_to) + _DAY if change.HasField("affects_to") else None
    return (first.date().isoformat() if first else "", last.date().isoformat() if last else "")


def _utc(instant: Timestamp) -> datetime:
    return datetime.fromtimestamp(instant.seconds, UTC)
