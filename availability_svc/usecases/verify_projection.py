"""Holds every projected value against PostgreSQL, reads the missing ones in, and all of them anew."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from availability_svc.calendars import buckets_of, whole_ms
from availability_svc.places import Place, gaps_of, place_of
from availability_svc.store.calendar_source import CalendarSource
from availability_svc.store.documents import OUTLINE, Document, PartId
from availability_svc.store.location_source import LocationSource
from availability_svc.store.outline_source import OutlineSource
from availability_svc.store.redis_projection import BucketId, RedisProjection
from availability_svc.store.truth import Truth
from scheduling.facts import Claim

Entry = tuple[str, str, int, int, int, int]
"""A claim as it is compared: resource, appointment, unit, first and last minute, when it expires in milliseconds."""

_BATCH: Final = 100
_TRIES: Final = 5
_PAUSE_S: Final = 0.5


@dataclass(slots=True)
class Verification:
    """What was compared, and each difference in one sentence."""

    buckets: int = 0
    entries: int = 0
    documents: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, other: "Verification") -> None:
        """Count another clinic's too."""
        self.buckets += other.buckets
        self.entries += other.entries
        self.documents += other.documents
        self.differences += other.differences


class ProjectionCare:
    """Verifies, warms and rebuilds the projections of whole clinics."""

    def __init__(
        self,
        truth: Truth,
        projection: RedisProjection,
        locations: LocationSource,
        outlines: OutlineSource,
        calendars: CalendarSource,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._truth = truth
        self._projection = projection
        self._locations = locations
        self._outlines = outlines
        self._calendars = calendars
        self._pause = pause

    def verify(self, clinic_id: str) -> Verification:
        """Compare every valid value of a clinic with the database.

        What differs is looked at again, a few times: a change may be on its way at this moment.
        """
        found = Verification()
        documents = self._documents(clinic_id)
        places = [place_of(clinic_id, document.text) for document in documents.values()]
        kept = sorted(self._projection.kept_buckets(clinic_id))
        gap_ids = _gap_ids(places, {calendar_id for calendar_id, _ in kept})
        self._verify_document((clinic_id, OUTLINE), lambda: self._truth.outline(clinic_id), found)
        for location_id in documents:
            self._verify_document(
                (clinic_id, location_id), partial(self._truth.location, clinic_id, location_id), found
            )
        for ids in _batches(kept):
            self._verify_buckets(clinic_id, ids, gap_ids, found)
        return found

    def warm(self, clinic_id: str, start_min: int, end_min: int) -> int:
        """Read every location and every calendar of a clinic in `[start_min, end_min)` into Redis.

        Returns the number of values that are there afterwards.
        """
        places = [place_of(clinic_id, document.text) for document in self._documents(clinic_id).values()]
        self._outlines.publish(clinic_id)
        for place in places:
            self._locations.publish(clinic_id, place.id)
        calendar_ids = sorted({calendar_id for place in places for calendar_id in place.calendar_ids})
        numbers = buckets_of(start_min, end_min)
        wanted = [(calendar_id, number) for calendar_id in calendar_ids for number in numbers]
        gap_ids = _gap_ids(places, calendar_ids)
        for ids in _batches(wanted):
            there = self._projection.buckets(clinic_id, ids)
            missing = [bucket_id for bucket_id in ids if bucket_id not in there]
            self._projection.fill(clinic_id, self._calendars.snapshots(clinic_id, missing, gap_ids))
        return 1 + len(places) + len(wanted)

    def rebuild(self, clinic_id: str, calendar_id: str = "") -> int:
        """Read what is kept of a clinic, or of one calendar, from the database anew, whatever it said before.

        Returns the number of values.
        """
        kept = sorted(self._projection.kept_buckets(clinic_id))
        if calendar_id:
            kept = [bucket_id for bucket_id in kept if bucket_id[0] == calendar_id]
            self._projection.forget(clinic_id, [calendar_id])
        else:
            self._projection.forget_clinic(clinic_id)
            self._projection.directory_changed(clinic_id)
            self._outlines.publish(clinic_id)
        places = [place_of(clinic_id, document.text) for document in self._documents(clinic_id).values()]
        gap_ids = _gap_ids(places, {calendar_id for calendar_id, _ in kept})
        for ids in _batches(kept):
            self._projection.fill(clinic_id, self._calendars.snapshots(clinic_id, ids, gap_ids))
        return len(kept) + (0 if calendar_id else 1 + self._locations.renew(clinic_id, ()))

    def _documents(self, clinic_id: str) -> dict[str, Document]:
        """Return each location's document, as the database has it."""
        found = {}
        for location_id in self._truth.location_ids(clinic_id):
            document = self._truth.location(clinic_id, location_id)
            if document is not None:
                found[location_id] = document
        return found

    def _verify_document(
        self, part: PartId, read: Callable[[], Document | None], found: Verification
    ) -> None:
        """Compare a part of the directory until it does not differ or the tries are used up."""
        kept = self._projection.document(part)
        if kept is None:
            return
        found.documents += 1
        for _ in range(_TRIES):
            stored = read()
            if kept is None or (stored is not None and kept.text == stored.text):
                return
            self._pause(_PAUSE_S)
            kept = self._projection.document(part)
        if kept is not None:
            found.differences.append(f"document {part[1]} differs from the database")

    def _verify_buckets(
        self,
        clinic_id: str,
        ids: Sequence[BucketId],
        gap_ids: Mapping[str, tuple[str, ...]],
        found: Verification,
    ) -> None:
        """Compare until nothing differs or the tries are used up; count what was compared once."""
        asked = list(ids)
        for attempt in range(_TRIES):
            projected = self._projection.buckets(clinic_id, asked)
            stored = {
                (snapshot.calendar_id, snapshot.bucket): _entries(snapshot.claims)
                for snapshot in self._calendars.snapshots(clinic_id, list(projected), gap_ids)
            }
            shown = {
                bucket_id: _entries(
                    claim for calendar in bucket.calendars.values() for claim in calendar.claims
                )
                for bucket_id, bucket in projected.items()
            }
            if attempt == 0:
                found.buckets += len(shown)
                found.entries += sum(len(entries) for entries in stored.values())
            asked = [bucket_id for bucket_id, entries in shown.items() if entries != stored[bucket_id]]
            if not asked:
                return
            self._pause(_PAUSE_S)
        for bucket_id in asked:
            extra, missing = shown[bucket_id] - stored[bucket_id], stored[bucket_id] - shown[bucket_id]
            found.differences.append(
                f"calendar {bucket_id[0]} bucket {bucket_id[1]}: "
                f"{len(extra)} entries too many, {len(missing)} missing"
            )


def _entries(claims: Iterable[Claim]) -> frozenset[Entry]:
    return frozenset(
        (
            claim.resource_id,
            claim.appointment_id,
            claim.unit,
            claim.start_min,
            claim.end_min,
            whole_ms(claim.expires_min),
        )
        for claim in claims
    )


def _gap_ids(places: Sequence[Place], calendar_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the gaps that each calendar may hold: rules bind the whole clinic, so any place tells."""
    if not places:
        return {}
    return {calendar_id: gaps_of(places[0].static, calendar_id) for calendar_id in calendar_ids}


def _batches(ids: Sequence[BucketId]) -> Iterator[Sequence[BucketId]]:
    for at in range(0, len(ids), _BATCH):
        yield ids[at : at + _BATCH]
