"""Locations' facts: from memory, else Redis, else PostgreSQL, each time kept for the next caller."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from availability_svc.layers import Layer, LayerCounters
from availability_svc.places import Place, digest_of, place_of
from availability_svc.store.flights import Flights
from availability_svc.store.memory import Remembered
from availability_svc.store.pulses import Pulses
from availability_svc.store.redis_projection import RedisProjection
from availability_svc.store.truth import Truth
from scheduling.errors import NotFound, Unavailable

_log = structlog.get_logger(__name__)

PlaceId = tuple[str, str]
"""A clinic's id and a location's."""

# Redis hears of a change a moment after this process does: so long the database is asked instead.
_DISTRUST_S: Final = 2.0
_NOBODY_BYTES: Final = 200


class LocationSource:
    """Places by clinic and location. Safe between threads."""

    def __init__(
        self,
        truth: Truth,
        projection: RedisProjection,
        pulses: Pulses,
        counters: LayerCounters,
        *,
        bytes_max: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._truth = truth
        self._projection = projection
        self._pulses = pulses
        self._counters = counters
        self._now_s = now_s
        self._kept: Remembered[Place | None] = Remembered(bytes_max=bytes_max, now_s=now_s)
        self._flights: Flights[PlaceId, tuple[Place | None, Layer]] = Flights()
        self._lock = threading.Lock()
        self._changed_at_s: dict[str, float] = {}

    def get(self, clinic_id: str, location_id: str) -> tuple[Place, Layer]:
        """Return a location and the layer it came from.

        Raises NotFound when the clinic has none with that id, Unavailable when nobody can say.
        """
        key = (clinic_id, location_id)
        pulse, asked = self._pulses.of(clinic_id)
        mark = b"" if pulse is None else pulse.directory
        place = self._kept.get(key, mark)
        if place is not None:
            return place, asked
        place, layer = self._flights.fetch([key], lambda keys: self._load(keys, mark))[key]
        if place is None:
            raise NotFound("There is no such location.", metadata={"resource": "location"})
        return place, layer

    def renew(self, clinic_id: str, location_ids: Sequence[str]) -> int:
        """Read the documents that Redis keeps of these locations (of all, for none) anew; return how many."""
        wanted = list(location_ids) or self._truth.location_ids(clinic_id, with_inactive=True)
        kept = self._projection.kept_locations(clinic_id, wanted)
        for location_id in kept:
            self.publish(clinic_id, location_id)
        return len(kept)

    def publish(self, clinic_id: str, location_id: str) -> str | None:
        """Read a location from the database into Redis; return its document, or None when there is none."""
        try:
            generation = self._projection.begin_location(clinic_id)
        except Unavailable:
            return self._truth.location(clinic_id, location_id)
        document = self._truth.location(clinic_id, location_id)
        if document is not None:
            try:
                self._projection.keep_location(clinic_id, location_id, generation, document)
            except Unavailable:
                _log.debug("location.not_kept")
        return document

    def changed(self, clinic_id: str, location_ids: Sequence[str]) -> None:
        """Forget these locations, or all of the clinic's when none is named."""
        with self._lock:
            self._changed_at_s[clinic_id] = self._now_s()
            for late in [key for key, at_s in self._changed_at_s.items() if at_s < self._now_s() - 60]:
                del self._changed_at_s[late]
        if location_ids:
            for location_id in location_ids:
                self._kept.drop((clinic_id, location_id))
        else:
            self._kept.drop_where(lambda key: isinstance(key, tuple) and key[0] == clinic_id)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def _load(self, keys: list[PlaceId], mark: bytes) -> dict[PlaceId, tuple[Place | None, Layer]]:
        return {key: self._load_one(key, mark) for key in keys}

    def _load_one(self, key: PlaceId, mark: bytes) -> tuple[Place | None, Layer]:
        kept = self._kept.get(key, mark)
        if kept is not None:
            return kept, Layer.L1
        began_s = self._now_s()
        document, layer = self._from_redis(key), Layer.L2
        self._counters.count(Layer.L2, hit=document is not None)
        if document is None:
            layer = Layer.DATABASE
            try:
                document = self._from_database(key)
            except Unavailable:
                outdated = self._kept.get_outdated(key)
                if outdated is None:
                    raise
                return outdated, Layer.L1
        place = None if document is None else self._place(key, document)
        self._keep(key, place, began_s, mark)
        return place, layer

    def _place(self, key: PlaceId, document: bytes) -> Place:
        """Return the place of a document: the one that is known, with all it has learnt, if nothing changed."""
        known = self._kept.get_outdated(key)
        if known is not None and known.digest == digest_of(document):
            return known
        return place_of(key[0], document)

    def _from_redis(self, key: PlaceId) -> bytes | None:
        if self._now_s() - self._changed_at_s.get(key[0], -_DISTRUST_S) < _DISTRUST_S:
            return None
        try:
            return self._projection.location(*key)
        except Unavailable:
            return None

    def _from_database(self, key: PlaceId) -> bytes | None:
        document = self.publish(*key)
        return None if document is None else document.encode()

    def _keep(self, key: PlaceId, place: Place | None, began_s: float, mark: bytes) -> None:
        """Remember what was read, unless the clinic has changed since the reading began."""
        self._kept.put(key, place, _NOBODY_BYTES if place is None else place.size_bytes, mark=mark)
        if self._changed_at_s.get(key[0], 0.0) >= began_s:
            self._kept.drop(key)
