"""What is taken: calendars from memory, else Redis, else PostgreSQL, each time kept for the next caller."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from availability_svc.calendars import Bucket, Coverage, bucket_of_records, bucket_span, records
from availability_svc.layers import Layer, LayerCounters
from availability_svc.places import Place
from availability_svc.store.flights import Flights
from availability_svc.store.memory import TTL_S, KnownVersions, Remembered
from availability_svc.store.pulses import Pulses
from availability_svc.store.redis_projection import BucketId, RedisProjection, Snapshot
from availability_svc.store.truth import Truth
from database.facts import Stretch, VersionedClaims
from scheduling.busy import KeptCalendars
from scheduling.consistency import EVERYTHING
from scheduling.errors import Exhausted, Unavailable

_log = structlog.get_logger(__name__)

Versions = Mapping[str, int]
_Key = tuple[str, str, int]

_PAUSES_S: Final = (0.002, 0.003, 0.005, 0.008, 0.012, 0.02)
"""How long a search waits, step by step, for the projection to catch up before it reads the primary."""

# A bucket's objects and its folded timelines, beside its records; and one place's dictionary of calendars.
_BUCKET_BYTES: Final = 2_500
_ASSEMBLED_BYTES: Final = 6_000
# What is assembled holds its buckets when they are remembered alone no more. As a rule they still are, and other places
# and windows hold the same ones: each counts a small share of them.
_HELD_SHARE: Final = 32


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which buckets of which calendars a search reads.

    `name` stands for them: two searches of one place with the same name read the same.
    """

    name: tuple[object, ...]
    buckets: Callable[[], tuple[BucketId, ...]]


@dataclass(slots=True)
class _Assembled:
    """A place's calendars as they are given out, the buckets they are of, and when these were used last."""

    epoch: int
    calendars: KeptCalendars
    keys: tuple[_Key, ...]
    used_at_s: float


class CalendarSource:
    """Calendars by resource. Safe between threads."""

    def __init__(
        self,
        truth: Truth,
        projection: RedisProjection,
        pulses: Pulses,
        counters: LayerCounters,
        *,
        bytes_max: int,
        now_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._truth = truth
        self._projection = projection
        self._pulses = pulses
        self._counters = counters
        self._pause = pause
        self._now_s = now_s
        marked_s = projection.value_ttl_s
        self._kept: Remembered[Bucket] = Remembered(
            bytes_max=bytes_max * 3 // 4, marked_s=marked_s, now_s=now_s
        )
        self._assembled: Remembered[_Assembled] = Remembered(
            bytes_max=bytes_max // 4, marked_s=marked_s, now_s=now_s
        )
        self._known = KnownVersions(now_s)
        self._flights: Flights[_Key, tuple[Bucket, Layer]] = Flights()
        self._lock = threading.Lock()
        self._epochs: dict[str, int] = {}

    def read(self, place: Place, wanted: Wanted, at_least: Versions) -> tuple[KeptCalendars, Layer]:
        """Return the wanted calendars by resource, at least as new as `at_least` says, and where they came from.

        Raises Unavailable when nobody can say.
        """
        clinic_id = place.clinic_id
        epoch = self._epochs.get(clinic_id, 0)
        key = (place.serial, wanted.name)
        mark, asked = self._mark(clinic_id)
        if not at_least:
            assembled = self._assembled.get(key, mark)
            if assembled is not None and assembled.epoch == epoch:
                self._use(assembled)
                self._counters.count(Layer.L1, hit=asked is Layer.L1)
                return assembled.calendars, asked
        ids = wanted.buckets()
        found, layer = self._buckets(place, ids, at_least, mark)
        self._count(layer)
        calendars = assemble(found[bucket_id] for bucket_id in ids)
        if all(self._kept.get((clinic_id, *one), mark) is found[one] for one in found):
            self._keep_assembled(
                key, (epoch, calendars), {(clinic_id, *one): found[one] for one in found}, mark
            )
        return calendars, max(layer, asked)

    def _keep_assembled(
        self,
        key: tuple[object, ...],
        what: tuple[int, KeptCalendars],
        buckets: Mapping[_Key, Bucket],
        mark: bytes,
    ) -> None:
        """Remember what was assembled of these buckets, no longer than the oldest of them."""
        held = sum(map(_size_of, buckets.values())) // _HELD_SHARE
        self._assembled.put(
            key,
            _Assembled(*what, tuple(buckets), self._now_s()),
            _ASSEMBLED_BYTES + held,
            mark=mark,
            marked_until_s=self._kept.marked_until_s(buckets),
        )

    def _use(self, assembled: _Assembled) -> None:
        """Note now and then that the buckets of what is given out are in use."""
        now_s = self._now_s()
        if now_s - assembled.used_at_s >= TTL_S:
            assembled.used_at_s = now_s
            self._kept.used(assembled.keys)

    def buckets(
        self, place: Place, ids: Sequence[BucketId], at_least: Versions
    ) -> tuple[dict[BucketId, Bucket], Layer]:
        """Return buckets, at least as new as `at_least` says, and the farthest layer that was asked.

        Raises Unavailable when nobody can say.
        """
        mark, asked = self._mark(place.clinic_id)
        found, layer = self._buckets(place, ids, at_least, mark)
        self._count(layer)
        return found, max(layer, asked)

    def _count(self, layer: Layer) -> None:
        self._counters.count(Layer.L1, hit=layer is Layer.L1)
        if layer is Layer.DATABASE:
            self._counters.fallbacks.inc()

    def _mark(self, clinic_id: str) -> tuple[bytes, Layer]:
        """Return the mark that what is right at this moment bears; none while Redis is away."""
        pulse, asked = self._pulses.of(clinic_id, exists=True)  # a place of it has been read
        return (b"" if pulse is None else pulse.calendars), asked

    def changed(self, clinic_id: str, versions: Iterable[tuple[str, int]]) -> None:
        """Forget what was read of these calendars before these versions, and ask for at least these from now on."""
        for calendar_id, version in versions:
            self._known.heard(clinic_id, calendar_id, version)
            self._kept.outdate_group((clinic_id, calendar_id), partial(_is_before, version))
        with self._lock:
            self._epochs[clinic_id] = self._epochs.get(clinic_id, 0) + 1

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._assembled.clear()

    def _buckets(
        self, place: Place, wanted: Sequence[BucketId], at_least: Versions, mark: bytes
    ) -> tuple[dict[BucketId, Bucket], Layer]:
        """Return every wanted bucket, and the farthest layer that was asked."""
        clinic_id = place.clinic_id
        found: dict[BucketId, Bucket] = {}
        missing: list[_Key] = []
        for bucket_id in wanted:
            kept = self._kept.get((clinic_id, *bucket_id), mark)
            if kept is not None and self._is_new_enough(clinic_id, bucket_id[0], kept, at_least):
                found[bucket_id] = kept
            else:
                missing.append((clinic_id, *bucket_id))
        if not missing:
            return found, Layer.L1
        own: set[_Key] = set()

        def load(keys: Sequence[_Key]) -> dict[_Key, tuple[Bucket, Layer]]:
            own.update(keys)
            return self._load(place, keys, at_least, mark)

        loaded = self._flights.fetch(missing, load)
        late = [
            key
            for key, (bucket, _) in loaded.items()
            if key not in own and not self._is_new_enough(clinic_id, key[1], bucket, at_least)
        ]
        if late:
            # Another caller was loading it already, who needed less or had begun before the newest change was heard.
            loaded |= self._load(place, late, at_least, mark)
        found.update({key[1:]: bucket for key, (bucket, _) in loaded.items()})
        return found, max(layer for _, layer in loaded.values())

    def _load(
        self, place: Place, keys: Sequence[_Key], at_least: Versions, mark: bytes
    ) -> dict[_Key, tuple[Bucket, Layer]]:
        """Return buckets from Redis, and those that are not there (or are late) from the database."""
        clinic_id = place.clinic_id
        ids = [key[1:] for key in keys]
        there = self._still_right(clinic_id, ids, at_least, mark)
        unsure = [bucket_id for bucket_id in ids if bucket_id not in there]
        read = self._from_redis(place, unsure, at_least) if unsure else {}
        missing = [bucket_id for bucket_id in unsure if bucket_id not in read]
        self._counters.count(Layer.L2, hit=not missing)
        loaded = {bucket_id: (bucket, Layer.L2) for bucket_id, bucket in read.items()}
        if missing:
            loaded |= self._from_database(place, missing, at_least)
        for bucket_id, (bucket, layer) in loaded.items():
            if layer is not Layer.L1:
                self._keep(clinic_id, bucket_id, bucket, mark)
        loaded |= {bucket_id: (bucket, Layer.L2) for bucket_id, bucket in there.items()}
        return {(clinic_id, *bucket_id): found for bucket_id, found in loaded.items()}

    def _still_right(
        self, clinic_id: str, ids: Sequence[BucketId], at_least: Versions, mark: bytes
    ) -> dict[BucketId, Bucket]:
        """Return what is remembered past its time and, Redis says, has not changed since; it is remembered on."""
        outdated: dict[BucketId, Bucket] = {}
        for bucket_id in ids:
            kept = self._kept.get_renewable((clinic_id, *bucket_id))
            if (
                kept is not None
                and kept.floor
                and self._is_new_enough(clinic_id, bucket_id[0], kept, at_least)
            ):
                outdated[bucket_id] = kept
        if not outdated:
            return {}
        floors = {bucket_id[0]: bucket.floor for bucket_id, bucket in outdated.items()}
        try:
            unchanged = self._projection.unchanged(clinic_id, floors)
        except Unavailable:
            return {}
        for calendar_id in unchanged:
            self._renew(clinic_id, calendar_id, floors[calendar_id], mark)
        return {
            bucket_id: bucket
            for bucket_id, bucket in outdated.items()
            if bucket_id[0] in unchanged and bucket.floor == floors[bucket_id[0]]
        }

    def _renew(self, clinic_id: str, calendar_id: str, floor: bytes, mark: bytes) -> None:
        self._kept.renew_group((clinic_id, calendar_id), lambda bucket: bucket.floor == floor, mark)

    def _from_redis(
        self, place: Place, ids: Sequence[BucketId], at_least: Versions
    ) -> dict[BucketId, Bucket]:
        """Return those buckets that Redis has, new enough, waiting a moment for the ones that are late."""
        if EVERYTHING in at_least:
            return {}
        found: dict[BucketId, Bucket] = {}
        asked = list(ids)
        for pause_s in (*_PAUSES_S, 0.0):
            try:
                there = self._projection.buckets(
                    place.clinic_id,
                    asked,
                    lambda bucket_id: self._kept.get_outdated((place.clinic_id, *bucket_id)),
                )
            except Unavailable:
                return found
            late = []
            for bucket_id, bucket in there.items():
                if self._is_new_enough(place.clinic_id, bucket_id[0], bucket, at_least):
                    found[bucket_id] = bucket
                else:
                    late.append(bucket_id)
            if not late or not pause_s:
                break
            asked = late
            self._pause(pause_s)
        return found

    def _from_database(
        self, place: Place, ids: Sequence[BucketId], at_least: Versions
    ) -> dict[BucketId, tuple[Bucket, Layer]]:
        """Return buckets from the database and keep them in Redis; what is remembered, if nobody answers."""
        try:
            snapshots = self._newest(place, ids, at_least)
        except (Unavailable, Exhausted):
            found: dict[BucketId, tuple[Bucket, Layer]] = {}
            for bucket_id in ids:
                outdated = self._kept.get_outdated((place.clinic_id, *bucket_id))
                if outdated is None or not self._is_new_enough(place.clinic_id, bucket_id[0], outdated, {}):
                    raise
                found[bucket_id] = (outdated, Layer.L1)
            return found
        return {
            (snapshot.calendar_id, snapshot.bucket): (
                self._bucket_of(place.clinic_id, snapshot),
                Layer.DATABASE,
            )
            for snapshot in snapshots
        }

    def _newest(self, place: Place, ids: Sequence[BucketId], at_least: Versions) -> list[Snapshot]:
        """Read buckets and keep them in Redis; from the primary, where the replica is behind what is known."""
        clinic_id = place.clinic_id
        if not self._truth.has_replica or at_least:
            snapshots = self.snapshots(clinic_id, ids, place.gap_ids)
            self._fill(clinic_id, snapshots)
            return snapshots
        snapshots = self.snapshots(clinic_id, ids, place.gap_ids, from_replica=True)
        behind = self._fill(clinic_id, snapshots, from_replica=True) + [
            one for one in snapshots if one.version < self._known.of(clinic_id, one.calendar_id)
        ]
        again = sorted({(one.calendar_id, one.bucket) for one in behind})
        newer = self.snapshots(clinic_id, again, place.gap_ids) if again else []
        self._fill(clinic_id, newer)
        return [one for one in snapshots if (one.calendar_id, one.bucket) not in again] + newer

    def _fill(
        self, clinic_id: str, snapshots: Sequence[Snapshot], *, from_replica: bool = False
    ) -> list[Snapshot]:
        """Keep snapshots in Redis, if it is there; return those that are too old, or that nobody knows not to be."""
        try:
            return self._projection.fill(clinic_id, snapshots, from_replica=from_replica)
        except Unavailable:
            _log.debug("calendars.not_kept")
            return list(snapshots) if from_replica else []

    def snapshots(
        self,
        clinic_id: str,
        ids: Sequence[BucketId],
        gap_ids: Mapping[str, tuple[str, ...]],
        *,
        from_replica: bool = False,
    ) -> list[Snapshot]:
        """Read buckets from the database: of each calendar the resource itself and the gaps that it holds."""
        stretches: dict[BucketId, list[Stretch]] = {}
        for calendar_id, bucket in ids:
            span = bucket_span(bucket)
            stretches[calendar_id, bucket] = [
                Stretch(resource_id, *span, lock_id=calendar_id)
                for resource_id in (calendar_id, *gap_ids.get(calendar_id, ()))
            ]
        wanted = [stretch for group in stretches.values() for stretch in group]
        read = self._truth.stretches(clinic_id, wanted, from_replica=from_replica)
        return [_snapshot(*bucket_id, [read[s] for s in group]) for bucket_id, group in stretches.items()]

    def _is_new_enough(self, clinic_id: str, calendar_id: str, bucket: Bucket, at_least: Versions) -> bool:
        known = max(self._known.of(clinic_id, calendar_id), at_least.get(calendar_id, 0))
        return bucket.coverage.has(known) and EVERYTHING not in at_least

    def _bucket_of(self, clinic_id: str, snapshot: Snapshot) -> Bucket:
        raw = records(snapshot.claims, snapshot.version)
        known = self._kept.get_outdated((clinic_id, snapshot.calendar_id, snapshot.bucket))
        return bucket_of_records(raw, Coverage(snapshot.version), known=known)

    def _keep(self, clinic_id: str, bucket_id: BucketId, bucket: Bucket, mark: bytes) -> None:
        """Remember a bucket, unless it has changed since it was read; unmarked while changes before it are due."""
        key = (clinic_id, *bucket_id)
        is_whole = not bucket.coverage.beyond
        group = (clinic_id, bucket_id[0])
        self._kept.put(key, bucket, _size_of(bucket), group=group, mark=mark if is_whole else b"")
        if not bucket.coverage.has(self._known.of(clinic_id, bucket_id[0])):
            self._kept.drop(key)


def _snapshot(calendar_id: str, bucket: int, read: Sequence[VersionedClaims]) -> Snapshot:
    claims = tuple(claim for part in read for claim in part.claims)
    return Snapshot(calendar_id, bucket, read[0].version, claims)


def _size_of(bucket: Bucket) -> int:
    return _BUCKET_BYTES + bucket.size_bytes


def _is_before(version: int, bucket: Bucket) -> bool:
    return not bucket.coverage.has(version)


def assemble(buckets: Iterable[Bucket]) -> KeptCalendars:
    """Return all calendars by resource, whichever bucket they come from, in one order: it names them."""
    calendars = KeptCalendars()
    for bucket in buckets:
        for resource_id, calendar in bucket.calendars.items():
            calendars[resource_id] = (*calendars.get(resource_id, ()), calendar)
    return calendars
