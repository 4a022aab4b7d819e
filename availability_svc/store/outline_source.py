"""Clinics' outlines: which locations a clinic has in use, and where each resource is."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from availability_svc.layers import Layer, LayerCounters
from availability_svc.store.directory_documents import DirectoryDocuments
from availability_svc.store.documents import OUTLINE, Document
from availability_svc.store.pulses import Pulses
from availability_svc.store.redis_projection import RedisProjection
from availability_svc.store.truth import Truth


@dataclass(frozen=True, slots=True)
class Outline:
    """The ids of a clinic's locations that are in use, and each resource's kind and own location, if it has one."""

    location_ids: tuple[str, ...] = ()
    resources: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)


class OutlineSource:
    """Outlines by clinic. Safe between threads."""

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
        self._documents = DirectoryDocuments(
            lambda part: truth.outline(part[0]),
            lambda _, document: outline_of(document),
            projection,
            pulses,
            counters,
            bytes_max=bytes_max,
            now_s=now_s,
        )

    def get(self, clinic_id: str, at_least: int = 0) -> tuple[Outline, Layer]:
        """Return a clinic's outline, of `at_least` that version of its directory, and the layer it came from.

        That of a clinic which is not there is empty. Raises Unavailable when nobody can say.
        """
        outline, layer = self._documents.get((clinic_id, OUTLINE), at_least)
        return outline or Outline(), layer

    def publish(self, clinic_id: str) -> Document | None:
        """Read an outline from the database into Redis; return it, or None when there is no such clinic."""
        return self._documents.publish((clinic_id, OUTLINE))

    def changed(self, clinic_id: str) -> None:
        """Forget a clinic's outline."""
        self._documents.changed(clinic_id, (OUTLINE,))

    def clear(self) -> None:
        """Forget everything."""
        self._documents.clear()


def outline_of(document: bytes) -> Outline:
    """Return the outline that a document holds."""
    found = orjson.loads(document)
    return Outline(tuple(found["locations"]), {one: (kind, where) for one, kind, where in found["resources"]})
