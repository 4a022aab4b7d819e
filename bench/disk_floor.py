"""The floor under whatever waits for the disk: one small file that is written and flushed, with nothing else running.

Every booking's COMMIT waits for such a flush, so no booking's slowest hundredth can be better than the disk's.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FILE_BYTES: Final = 16 * 1024 * 1024
_WRITE_BYTES: Final = 8_192


@dataclass(frozen=True, slots=True)
class Flushes:
    """What flushes took, in milliseconds, and how much of the time was spent in those of 20 ms and more."""

    p50_ms: float
    p99_ms: float
    worst_ms: float
    stalled_share: float


def flushes(folder: Path, *, per_second: int = 400, seconds: float = 3.0) -> Flushes:
    """Write and flush 8 KB so often, as PostgreSQL does its log: in place, in a file that has its size already."""
    taken: list[float] = []
    with (folder / "disk_floor").open("w+b", buffering=0) as file:
        file.write(bytes(_FILE_BYTES))
        os.fsync(file.fileno())
        began = time.perf_counter()
        while (at := time.perf_counter()) - began < seconds:
            os.pwrite(file.fileno(), bytes(_WRITE_BYTES), len(taken) * _WRITE_BYTES % _FILE_BYTES)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - at) * 1_000)
            time.sleep(max(0.0, began + len(taken) / per_second - time.perf_counter()))
    ordered = sorted(taken)
    stalled_ms = sum(found for found in taken if found >= 20)
    return Flushes(
        ordered[len(ordered) // 2],
        ordered[len(ordered) * 99 // 100],
        ordered[-1],
        stalled_ms / (seconds * 1_000),
    )
