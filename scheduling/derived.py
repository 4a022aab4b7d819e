"""A bounded memory for what is dear to derive: open time, grids, masks.

The caller owns it (a service keeps one per process) and the engine fills it. Keys hold fingerprints of
everything the value was derived from, so nothing in it ever becomes wrong; it only becomes unused.
"""

from collections.abc import Hashable
from typing import Any, Final, TypeVar

from scheduling.timeline import Bits, Probe

BYTES_MAX: Final = 64 * 1024 * 1024
_ENTRY_BYTES: Final = 300

DerivedT = TypeVar("DerivedT", bound=Bits | Probe | tuple[Any, ...])
"""A mask, masks ready to be asked, or a tuple of such."""


class Generations:
    """Keeps what was used lately, in two generations.

    New and reused entries live in the young one. When it holds half of `bytes_max`, it becomes the old one
    and what was old is dropped. Single dictionary operations only, so threads may share it without a lock;
    at worst they derive the same thing twice.
    """

    __slots__ = ("_half_bytes", "_old", "_young", "_young_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._half_bytes = bytes_max // 2
        self._young: dict[Hashable, Any] = {}
        self._old: dict[Hashable, Any] = {}
        self._young_bytes = 0

    def get(self, key: Hashable) -> Any:
        """Return what is kept under `key`, which is what was put there, or None."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Hashable, value: DerivedT) -> DerivedT:
        """Keep `value` under `key` and return it."""
        self._young_bytes += _ENTRY_BYTES + _size_bytes(value)
        if self._young_bytes > self._half_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[key] = value
        return value

    def __len__(self) -> int:
        """Count the entries of both generations; one may be in each."""
        return len(self._young) + len(self._old)


class DerivedCache(Generations):
    """Two memories, so that what is quickly derived again never pushes out what is dear.

    This one holds a quarter of `bytes_max`: weeks of open time and grids, made of local times. `masks` holds the
    rest: what was put together from them and from calendars.
    """

    __slots__ = ("masks",)

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        super().__init__(bytes_max // 4)
        self.masks = Generations(bytes_max - bytes_max // 4)

    def __len__(self) -> int:
        """Count the entries of both memories."""
        return super().__len__() + len(self.masks)


def _size_bytes(value: object) -> int:
    """Return about what a value takes."""
    if isinstance(value, int):
        return value.bit_length() // 7
    if isinstance(value, Probe):
        return value.size_bytes
    return sum(map(_size_bytes, value)) if isinstance(value, tuple) else 0
