"""One reading for several questions: whatever two of them look at is read once, so they see it in the same state."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from availability_svc.calendars import Bucket
from availability_svc.freshness import Stamp
from availability_svc.layers import Layer
from availability_svc.places import Place
from availability_svc.store.calendar_source import Versions, Wanted, assemble
from availability_svc.store.documents import PartId
from availability_svc.store.outline_source import Outline
from availability_svc.store.redis_projection import BucketId
from scheduling import consistency
from scheduling.busy import KeptCalendars


class Clockwork(Protocol):
    """Says what time it is, and how fresh what is read is."""

    def now(self) -> datetime:
        """Return the database's time, as well as it is known."""

    def stamp(self) -> Stamp:
        """Return how fresh what is known is."""


class Locations(Protocol):
    """Reads locations."""

    def get(self, clinic_id: str, location_id: str, at_least: int = 0) -> tuple[Place, Layer]:
        """Return a location, of `at_least` that version of its directory, and the layer it came from.

        Raises NotFound, Unavailable.
        """


class Outlines(Protocol):
    """Reads what clinics have."""

    def get(self, clinic_id: str, at_least: int = 0) -> tuple[Outline, Layer]:
        """Return a clinic's outline, of `at_least` that version of its directory. Raises Unavailable."""


class Calendars(Protocol):
    """Reads what is taken."""

    def read(self, place: Place, wanted: Wanted, at_least: Versions) -> tuple[KeptCalendars, Layer]:
        """Return the wanted calendars and where they came from. Raises Unavailable."""

    def buckets(
        self, place: Place, ids: Sequence[BucketId], at_least: Versions
    ) -> tuple[dict[BucketId, Bucket], Layer]:
        """Return buckets and the farthest layer that was asked. Raises Unavailable."""


class OneMoment:
    """The time and the freshness of the moment it was made."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._stamp = clockwork.stamp()

    def now(self) -> datetime:
        """Return that time."""
        return self._stamp.fetched_at

    def stamp(self) -> Stamp:
        """Return how fresh what is read is, at least."""
        return self._stamp


class LocationsRead:
    """Locations, each read once, all at least as new as `at_least` says. For one call."""

    def __init__(self, locations: Locations, at_least: Versions) -> None:
        self._locations = locations
        self._at_least = at_least
        self._read: dict[PartId, tuple[Place, Layer]] = {}

    def get(self, clinic_id: str, location_id: str, _at_least: int = 0) -> tuple[Place, Layer]:
        """Return a location as it was when it was asked for first, and the layer it came from."""
        key = (clinic_id, location_id)
        if key not in self._read:
            version = consistency.directory_version(self._at_least, clinic_id)
            self._read[key] = self._locations.get(clinic_id, location_id, version)
        return self._read[key]


class CalendarsRead:
    """Calendars, each bucket read once, all at least as new as `at_least` says. For one call."""

    def __init__(self, calendars: Calendars, at_least: Versions) -> None:
        self._calendars = calendars
        self._at_least = at_least
        self._read: dict[tuple[str, BucketId], tuple[Bucket, Layer]] = {}

    def read(self, place: Place, wanted: Wanted, at_least: Versions) -> tuple[KeptCalendars, Layer]:
        """Return the wanted calendars as they were when each was asked for first, and where they came from."""
        ids = wanted.buckets()
        found, layer = self.buckets(place, ids, at_least)
        return assemble(found[bucket_id] for bucket_id in ids), layer

    def buckets(
        self, place: Place, ids: Sequence[BucketId], _at_least: Versions
    ) -> tuple[dict[BucketId, Bucket], Layer]:
        """Return buckets as they were when each was asked for first, and the farthest layer they came from."""
        clinic_id = place.clinic_id
        missing = [bucket_id for bucket_id in ids if (clinic_id, bucket_id) not in self._read]
        if missing:
            found, layer = self._calendars.buckets(place, missing, self._at_least)
            self._read.update({(clinic_id, one): (bucket, layer) for one, bucket in found.items()})
        read = {bucket_id: self._read[clinic_id, bucket_id] for bucket_id in ids}
        layers = [layer for _, layer in read.values()]
        return {bucket_id: bucket for bucket_id, (bucket, _) in read.items()}, max(layers, default=Layer.L1)
