"""A bounded memory for what is dear to derive: open time, grids, masks.

The caller owns it (a service keeps one per process) and the engine fills it. Keys hold fingerprints of
everything the value was derived from, so nothing in it ever becomes wrong; it only becomes unused.
"""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any, Final, TypeVar

from scheduling.timeline import Bits, Probe

BYTES_MAX: Final = 64 * 1024 * 1024
_ENTRY_BYTES: Final = 300

DerivedT = TypeVar("DerivedT", bound=Bits | Probe | tuple[Any, ...])
"""A mask, masks ready to be asked, or a tuple of such."""


class Lately:
    """Keeps what was used lately, within `bytes_max`; the longest unused go first, one by one.

    Threads may share it: what one of them looks for while another drops it is derived anew.
    """

    __slots__ = ("_bytes", "_bytes_max", "_found", "_lock")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._found: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> Any:
        """Return what is kept under `key`, which is what was put there, or None."""
        found = self._found.get(key)
        if found is None:
            return None
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: DerivedT, size_bytes: int | None = None) -> DerivedT:
        """Keep `value` under `key` and return it; what it takes is worked out, unless it is given."""
        size_bytes = _ENTRY_BYTES + (_size_bytes(value) if size_bytes is None else size_bytes)
        with self._lock:
            replaced = self._found.pop(key, None)
            self._bytes += size_bytes - (replaced[1] if replaced else 0)
            self._found[key] = (value, size_bytes)
            while self._bytes > self._bytes_max:
                self._bytes -= self._found.popitem(last=False)[1][1]
        return value

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._found)


class DerivedCache(Lately):
    """Two memories, so that what is quickly derived again never pushes out what is dear.

    This one holds a quarter of `bytes_max`: weeks of open time and grids, made of local times. `masks` holds the
    rest: what was put together from them and from calendars.
    """

    __slots__ = ("masks",)

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        super().__init__(bytes_max // 4)
        self.masks = Lately(bytes_max - bytes_max // 4)

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
