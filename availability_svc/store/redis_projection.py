"""The projections in Redis: calendars in buckets, and directories in documents.

Everything here is a cache that may vanish at any moment. What a script writes can never replace something
newer, whoever comes late: the scripts beside this module compare versions before they write.
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from itertools import groupby
from pathlib import Path
from typing import Any, Final, cast

from redis.exceptions import NoScriptError, RedisError

from availability_svc.calendars import (
    GENERATION_BYTES,
    HEADER_BYTES,
    VERSION_BYTES,
    Bucket,
    CalendarChange,
    Coverage,
    decode_bucket,
    entry,
    records,
    version_bytes,
)
from availability_svc.store import keys
from availability_svc.store.documents import Document, PartId
from chassis.cache import SyncCache
from scheduling.facts import Claim

BucketId = tuple[str, int]
"""A calendar's id and the number of one of its buckets."""

HOLE_S_MAX: Final = 10
"""A change that is missing this long while later ones are there makes the calendar be read anew."""

_BEYOND_MAX: Final = 64
_SCRIPTS_AT_ONCE: Final = 64
_FLOOR_TTL_MS: Final = 24 * 3_600_000
_VALUE_TTL_MS: Final = 3_600_000
_SINCE_AT: Final = GENERATION_BYTES + VERSION_BYTES
_BEYOND_AT: Final = _SINCE_AT + 4
_NO_HOLE: Final = bytes(4)
_LUA: Final = Path(__file__).parent / "lua"
_GENERATION_CHARS: Final = 16
_DOCUMENT_AT: Final = _GENERATION_CHARS + VERSION_BYTES


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the database said of one bucket: its claims, and the calendar's version at that moment."""

    calendar_id: str
    bucket: int
    version: int
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What differs as soon as something that is projected of a clinic has changed.

    `calendars` tells of what is taken, `directory` of what the clinic sets up.
    """

    calendars: bytes
    directory: bytes

    @property
    def is_whole(self) -> bool:
        """Tell whether both are there: those of a clinic of which nothing is projected are empty."""
        return bool(self.calendars and self.directory)


class _Script:
    """A Lua script, sent by its digest."""

    def __init__(self, name: str) -> None:
        self.text = (_LUA / name).read_text(encoding="utf-8")
        self.digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisProjection:
    """Reads and writes the projections; raises Unavailable and nothing else when Redis fails."""

    def __init__(
        self,
        cache: SyncCache,
        *,
        now_s: Callable[[], float] = time.time,
        value_ttl_ms: int = _VALUE_TTL_MS,
    ) -> None:
        self._cache = cache
        self._client = cache.client
        self._now_s = now_s
        self._value_ttl_ms = value_ttl_ms
        self.value_ttl_s: Final = value_ttl_ms / 1_000
        self._apply, self._fill = _Script("apply.lua"), _Script("fill.lua")
        self._touch, self._begin = _Script("touch_directory.lua"), _Script("begin_document.lua")
        self._keep = _Script("keep_document.lua")

    def buckets(
        self,
        clinic_id: str,
        wanted: Sequence[BucketId],
        known: Callable[[BucketId], Bucket | None] = lambda _: None,
    ) -> dict[BucketId, Bucket]:
        """Return those of the wanted buckets that are there and valid, in one round trip.

        `known` may tell how a bucket was when it was read before; what has not changed is not made again.
        """
        calendars = list(dict.fromkeys(calendar_id for calendar_id, _ in wanted))
        names = [keys.floor_key(clinic_id, calendar_id) for calendar_id in calendars]
        names += [keys.bucket_key(clinic_id, *bucket_id) for bucket_id in wanted]
        with self._cache.guard():
            values = cast("list[bytes | None]", self._client.mget(names))
        floors = dict(zip(calendars, values, strict=False))
        found: dict[BucketId, Bucket] = {}
        for bucket_id, raw in zip(wanted, values[len(calendars) :], strict=True):
            floor = floors[bucket_id[0]]
            if raw is not None and floor is not None and self._is_valid(floor, raw):
                found[bucket_id] = decode_bucket(raw, _coverage(floor), floor, known(bucket_id))
        return found

    def pulse(self, clinic_id: str) -> Pulse:
        """Return the clinic's pulse: what was read after it was seen is right for as long as it stays the same."""
        names = [keys.pulse_key(clinic_id), keys.directory_key(clinic_id)]
        with self._cache.guard():
            calendars, directory = cast("list[bytes | None]", self._client.mget(names))
        return Pulse(calendars or b"", directory or b"")

    def begin_pulse(self, clinic_id: str) -> Pulse:
        """Give a clinic that is known to exist a pulse of its calendars, if it has none; return its pulse."""
        with self._cache.guard():
            self._client.set(keys.pulse_key(clinic_id), _new_generation(), nx=True, px=_FLOOR_TTL_MS)
        return self.pulse(clinic_id)

    def unchanged(self, clinic_id: str, floors: Mapping[str, bytes]) -> set[str]:
        """Return those calendars whose floor is still this one: what was read beside it is still right."""
        names = [keys.floor_key(clinic_id, calendar_id) for calendar_id in floors]
        with self._cache.guard():
            values = cast("list[bytes | None]", self._client.mget(names))
        return {
            calendar_id
            for (calendar_id, floor), value in zip(floors.items(), values, strict=True)
            if value == floor and floor[_SINCE_AT:_BEYOND_AT] == _NO_HOLE
        }

    def kept_buckets(self, clinic_id: str) -> set[BucketId]:
        """Return the ids of all buckets of a clinic, valid or not. Slow: it scans; for tools."""
        with self._cache.guard():
            names = list(self._client.scan_iter(match=keys.bucket_pattern(clinic_id), count=1_000))
        return {keys.bucket_of(name.decode()) for name in names}

    def apply(self, changes: Iterable[CalendarChange]) -> int:
        """Apply changes, each at most once and never over a newer one; return how many were new."""
        new = 0
        for _clinic_id, of_clinic in groupby(changes, lambda change: change.clinic_id):
            new += sum(self._scripts([(self._apply, *self._change(change)) for change in of_clinic]))
        return new

    def fill(
        self, clinic_id: str, snapshots: Sequence[Snapshot], *, from_replica: bool = False
    ) -> list[Snapshot]:
        """Keep what the database said; return the snapshots that were refused because they are too old, or may be.

        Those `from_replica` may be older than anything, unless the calendar's floor tells what was seen.
        """
        calls = [
            (self._fill, *self._snapshot(clinic_id, snapshot, from_replica=from_replica))
            for snapshot in snapshots
        ]
        kept = self._scripts(calls)
        return [snapshot for snapshot, was_kept in zip(snapshots, kept, strict=True) if not was_kept]

    def forget(self, clinic_id: str, calendar_ids: Iterable[str]) -> None:
        """Make every bucket of some calendars invalid: the next reader fills them anew."""
        names = [keys.floor_key(clinic_id, calendar_id) for calendar_id in calendar_ids]
        if names:
            with self._cache.guard():
                self._client.delete(*names, keys.pulse_key(clinic_id))

    def forget_clinic(self, clinic_id: str) -> None:
        """Make every bucket of a clinic invalid. Slow: it scans; for when it is not known which have changed."""
        self._delete_matching(keys.floor_pattern(clinic_id))
        with self._cache.guard():
            self._client.delete(keys.pulse_key(clinic_id))

    def follow_streams(self, incarnation: str, before: str = "") -> bool:
        """Note from which streams the projections are made; return whether they were made from others before.

        Then everything is made invalid first: events may have been lost with the other streams. Where nothing is noted,
        `before` is what the caller knows; projections of which nobody knows anything have just begun.
        """
        with self._cache.guard():
            noted = self._client.get(keys.STREAMS_KEY)
        known = before if noted is None else cast("bytes", noted).decode()
        if not known:
            with self._cache.guard():
                self._client.set(keys.STREAMS_KEY, incarnation)
        if known in ("", incarnation):
            return False
        for pattern in (keys.floor_pattern(), keys.directory_pattern(), keys.pulse_pattern()):
            self._delete_matching(pattern)
        with self._cache.guard():
            self._client.set(keys.STREAMS_KEY, incarnation)
        return True

    def _delete_matching(self, pattern: str) -> None:
        with self._cache.guard():
            found = list(self._client.scan_iter(match=pattern, count=1_000))
            for at in range(0, len(found), _SCRIPTS_AT_ONCE):
                pipe = self._client.pipeline(transaction=False)
                for name in found[at : at + _SCRIPTS_AT_ONCE]:
                    pipe.unlink(name)
                pipe.execute()

    def document(self, part: PartId) -> Document | None:
        """Return a part of a clinic's directory, if it is there and nothing of the directory has changed since."""
        names = [keys.directory_key(part[0]), keys.document_key(*part)]
        with self._cache.guard():
            generation, value = cast("list[bytes | None]", self._client.mget(names))
        if generation is None or value is None or value[:_GENERATION_CHARS] != generation:
            return None
        version = value[_GENERATION_CHARS:_DOCUMENT_AT]
        return Document(value[_DOCUMENT_AT:], int.from_bytes(version, "big"))

    def generation(self, clinic_id: str) -> bytes:
        """Return the generation of the clinic's directory, to be read before the database is; empty for none."""
        with self._cache.guard():
            return cast("bytes | None", self._client.get(keys.directory_key(clinic_id))) or b""

    def begin_document(self, clinic_id: str) -> bytes:
        """Return the same of a clinic that is known to exist: it is given one if it has none."""
        return bytes(self._scripts([(self._begin, [keys.directory_key(clinic_id)], [_FLOOR_TTL_MS])])[0])

    def keep_document(self, part: PartId, generation: bytes, document: Document) -> bool:
        """Keep a document read since its clinic had this generation; False when its clinic has changed meanwhile."""
        names = [keys.directory_key(part[0]), keys.document_key(*part)]
        arguments = [generation, version_bytes(document.version) + document.text, self._ttl_ms()]
        return bool(self._scripts([(self._keep, names, arguments)])[0])

    def directory_changed(self, clinic_id: str) -> None:
        """Make every document of a clinic invalid, and those that are being read at this moment too."""
        self._scripts([(self._touch, [keys.directory_key(clinic_id)], [_FLOOR_TTL_MS])])

    def kept_documents(self, clinic_id: str, wanted: Sequence[str]) -> list[str]:
        """Return those parts of a clinic that are kept, valid or not: the ones that are read."""
        with self._cache.guard():
            pipe = self._client.pipeline(transaction=False)
            for name in wanted:
                pipe.exists(keys.document_key(clinic_id, name))
            found = pipe.execute()
        return [name for name, is_kept in zip(wanted, found, strict=True) if is_kept]

    def _is_valid(self, floor: bytes, raw: bytes) -> bool:
        if raw[:GENERATION_BYTES] != floor[:GENERATION_BYTES] or len(raw) < HEADER_BYTES:
            return False
        since_s = int.from_bytes(floor[_SINCE_AT:_BEYOND_AT], "big")
        return not since_s or self._now_s() - since_s <= HOLE_S_MAX

    def _change(self, change: CalendarChange) -> tuple[list[str], list[Any]]:
        buckets = change.buckets
        names = [keys.floor_key(change.clinic_id, change.calendar_id), keys.pulse_key(change.clinic_id)]
        names += [keys.bucket_key(change.clinic_id, change.calendar_id, bucket) for bucket in buckets]
        entries = [entry(change.claims, change.appointment_id, change.version, bucket) for bucket in buckets]
        appointment = entry((), change.appointment_id, change.version, 0)[:16]
        return names, [
            version_bytes(change.version),
            _new_generation(),
            _FLOOR_TTL_MS,
            int(self._now_s()),
            HOLE_S_MAX,
            _BEYOND_MAX,
            appointment,
            *entries,
        ]

    def _snapshot(
        self, clinic_id: str, snapshot: Snapshot, *, from_replica: bool
    ) -> tuple[list[str], list[Any]]:
        names = [
            keys.floor_key(clinic_id, snapshot.calendar_id),
            keys.bucket_key(clinic_id, snapshot.calendar_id, snapshot.bucket),
        ]
        return names, [
            version_bytes(snapshot.version),
            _new_generation(),
            _FLOOR_TTL_MS,
            int(self._now_s()),
            HOLE_S_MAX,
            self._ttl_ms(),
            records(snapshot.claims, snapshot.version),
            int(from_replica),
        ]

    def _ttl_ms(self) -> int:
        """A tenth more or less, so that what was filled together does not vanish together."""
        return int(self._value_ttl_ms * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load

    def _scripts(self, calls: Sequence[tuple[_Script, list[str], list[Any]]]) -> list[Any]:
        """Run scripts, so many a round trip that none comes near the timeout of a command."""
        results: list[Any] = []
        for at in range(0, len(calls), _SCRIPTS_AT_ONCE):
            with self._cache.guard():
                results += self._run_known(calls[at : at + _SCRIPTS_AT_ONCE])
        return results

    def _run_known(self, calls: Sequence[tuple[_Script, list[str], list[Any]]]) -> list[Any]:
        """Run scripts in one round trip; in three, when the server does not know them yet."""
        results = self._run(calls)
        if any(isinstance(result, NoScriptError) for result in results):
            for script in {id(call[0]): call[0] for call in calls}.values():
                self._client.script_load(script.text)
            results = self._run(calls)
        for result in results:
            if isinstance(result, RedisError):
                raise result
        return results

    def _run(self, calls: Sequence[tuple[_Script, list[str], list[Any]]]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for script, names, arguments in calls:
            pipe.evalsha(script.digest, len(names), *names, *arguments)
        return list(pipe.execute(raise_on_error=False))


def _coverage(floor: bytes) -> Coverage:
    upto = int.from_bytes(floor[GENERATION_BYTES:_SINCE_AT], "big")
    if len(floor) == _BEYOND_AT:
        return Coverage(upto)
    beyond = frozenset(
        int.from_bytes(floor[at : at + VERSION_BYTES], "big")
        for at in range(_BEYOND_AT, len(floor), VERSION_BYTES)
    )
    return Coverage(upto, beyond)


def _new_generation() -> bytes:
    return os.urandom(GENERATION_BYTES)
