"""Locations' facts, each kept as one document."""

import time
from collections.abc import Callable, Sequence

from availability_svc.layers import Layer, LayerCounters
from availability_svc.places import Place, place_of
from availability_svc.store.directory_documents import DirectoryDocuments
from availability_svc.store.documents import Document
from availability_svc.store.pulses import Pulses
from availability_svc.store.redis_projection import RedisProjection
from availability_svc.store.truth import Truth
from scheduling.errors import NotFound


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
        self._documents = DirectoryDocuments(
            lambda part: truth.location(*part),
            place_of,
            projection,
            pulses,
            counters,
            bytes_max=bytes_max,
            now_s=now_s,
        )

    def get(self, clinic_id: str, location_id: str, at_least: int = 0) -> tuple[Place, Layer]:
        """Return a location, of `at_least` that version of its directory, and the layer it came from.

        Raises NotFound when the clinic has none with that id, Unavailable when nobody can say.
        """
        place, layer = self._documents.get((clinic_id, location_id), at_least)
        if place is None:
            raise NotFound("There is no such location.", metadata={"resource": "location"})
        return place, layer

    def renew(self, clinic_id: str, location_ids: Sequence[str]) -> int:
        """Read the documents that Redis keeps of these locations (of all, for none) anew; return how many."""
        wanted = list(location_ids) or self._truth.location_ids(clinic_id)
        kept = self._projection.kept_documents(clinic_id, wanted)
        for location_id in kept:
            self.publish(clinic_id, location_id)
        return len(kept)

    def publish(self, clinic_id: str, location_id: str) -> Document | None:
        """Read a location from the database into Redis; return its document, or None when there is none."""
        return self._documents.publish((clinic_id, location_id))

    def changed(self, clinic_id: str, location_ids: Sequence[str]) -> None:
        """Forget these locations, or all of the clinic's when none is named."""
        self._documents.changed(clinic_id, location_ids)

    def clear(self) -> None:
        """Forget everything."""
        self._documents.clear()
