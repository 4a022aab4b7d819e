"""L1: what this process remembers, for seconds, within a bound of bytes, until an event says otherwise."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

ValueT = TypeVar("ValueT")

TTL_S: Final = 10.0
MARKED_S: Final = 3_600.0
_KNOWN_MAX: Final = 100_000
_KNOWN_S: Final = 60.0


@dataclass(slots=True)
class _Entry(Generic[ValueT]):
    value: ValueT
    size_bytes: int
    until_s: float
    marked_until_s: float
    group: Hashable
    mark: bytes

    def is_renewable(self, now_s: float) -> bool:
        """Tell whether the value may still be right: no change has outdated it, and it is not too old."""
        return self.until_s > -math.inf and self.marked_until_s > now_s


class Remembered(Generic[ValueT]):
    """Values by key, the oldest first out. Outdated entries stay for when all else is away.

    A value may bear a mark: a state of something else, seen before the value was read, in which it is right. Whoever
    knows the state of this moment asks by it; whoever does not, asks by age. A mark counts for `marked_s` after the
    value was read and no longer, however often it is renewed: the state may have gone back to what it was.
    """

    def __init__(
        self,
        *,
        bytes_max: int,
        ttl_s: float = TTL_S,
        marked_s: float = MARKED_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bytes_max = bytes_max
        self._ttl_s = ttl_s
        self._marked_s = marked_s
        self._now_s = now_s
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry[ValueT]] = OrderedDict()
        self._groups: dict[Hashable, set[Hashable]] = {}
        self._bytes = 0

    def get(self, key: Hashable, mark: bytes = b"") -> ValueT | None:
        """Return what is kept, if it bears this mark; without a mark, unless its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now_s = self._now_s()
        if mark:
            is_right = entry.mark == mark and entry.is_renewable(now_s)
            if is_right and entry.until_s <= now_s:
                self.used([key])
        else:
            is_right = entry.until_s > now_s
        return entry.value if is_right else None

    def get_renewable(self, key: Hashable) -> ValueT | None:
        """Return what is kept, if `renew_group` would give it its time again."""
        entry = self._entries.get(key)
        return entry.value if entry is not None and entry.is_renewable(self._now_s()) else None

    def get_outdated(self, key: Hashable) -> ValueT | None:
        """Return what is kept, whatever its age: better than nothing when everything else is away."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def marked_until_s(self, keys: Iterable[Hashable]) -> float:
        """Return until when the marks of all that is kept of these keys count."""
        entries = (self._entries.get(key) for key in keys)
        return min((entry.marked_until_s for entry in entries if entry is not None), default=math.inf)

    def put(
        self,
        key: Hashable,
        value: ValueT,
        size_bytes: int,
        *,
        group: Hashable = None,
        mark: bytes = b"",
        marked_until_s: float = math.inf,
    ) -> None:
        """Keep a value for a while; `group` is what it may be outdated and renewed by.

        `marked_until_s` is for a value that is made of others: when the mark of the oldest of them ends.
        """
        now_s = self._now_s()
        marked_until_s = min(marked_until_s, now_s + self._marked_s)
        with self._lock:
            self._drop(key)
            self._entries[key] = _Entry(value, size_bytes, now_s + self._ttl_s, marked_until_s, group, mark)
            if group is not None:
                self._groups.setdefault(group, set()).add(key)
            self._bytes += size_bytes
            while self._bytes > self._bytes_max:
                self._drop(next(iter(self._entries)))

    def drop(self, key: Hashable) -> None:
        """Forget one key."""
        with self._lock:
            self._drop(key)

    def outdate_group(self, group: Hashable, is_meant: Callable[[ValueT], bool]) -> None:
        """End the time of those values of a group that are meant, until they are read again."""
        with self._lock:
            for key in self._groups.get(group, ()):
                entry = self._entries[key]
                if is_meant(entry.value):
                    entry.until_s = -math.inf

    def renew_group(self, group: Hashable, is_meant: Callable[[ValueT], bool], mark: bytes = b"") -> None:
        """Give those values of a group that are meant their time again, and this mark; not those that are too old."""
        now_s = self._now_s()
        with self._lock:
            for key in self._groups.get(group, ()):
                entry = self._entries[key]
                if entry.is_renewable(now_s) and is_meant(entry.value):
                    entry.until_s = now_s + self._ttl_s
                    entry.mark = mark
                    self._entries.move_to_end(key)

    def drop_where(self, is_meant: Callable[[Hashable], bool]) -> None:
        """Forget every key that is meant."""
        with self._lock:
            for key in [key for key in self._entries if is_meant(key)]:
                self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._groups.clear()
            self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """What is kept, by the sizes that were given."""
        return self._bytes

    def used(self, keys: Iterable[Hashable]) -> None:
        """Note that these keys are in use: others go first when there is no more room."""
        with self._lock:
            for key in keys:
                if key in self._entries:
                    self._entries.move_to_end(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._bytes -= entry.size_bytes
        members = self._groups.get(entry.group)
        if members is not None:
            members.discard(key)
            if not members:
                del self._groups[entry.group]


class KnownVersions:
    """The newest version of each calendar that this process has heard of, for a minute.

    What Redis holds may be a moment behind what was heard: then it is asked again.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def heard(self, clinic_id: str, calendar_id: str, version: int) -> None:
        """Note a version."""
        key, now_s = (clinic_id, calendar_id), self._now_s()
        with self._lock:
            newest = max(version, self._known.get(key, (0, 0.0))[0])
            self._known[key] = (newest, now_s + _KNOWN_S)
            self._known.move_to_end(key)
            while self._known and (
                len(self._known) > _KNOWN_MAX or next(iter(self._known.values()))[1] < now_s
            ):
                self._known.popitem(last=False)

    def of(self, clinic_id: str, calendar_id: str) -> int:
        """Return the newest version heard of, 0 for none."""
        found = self._known.get((clinic_id, calendar_id))
        return 0 if found is None or found[1] < self._now_s() else found[0]
