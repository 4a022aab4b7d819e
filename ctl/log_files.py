"""The log files of a home: followed, read back, and kept from growing without end."""

import os
from collections.abc import Iterator
from pathlib import Path

_READ_BYTES_MAX = 256 * 1024
_SIZE_BYTES_MAX = 32 * 2**20
_LINE_BYTES_MAX = 64 * 1024


class LogFollower:
    """Gives the new lines of one file each time it is asked; survives that the file is cut or made anew."""

    def __init__(self, path: Path, *, from_end: bool = True) -> None:
        self.path = path
        self._offset = _size(path) if from_end else 0
        self._partial = b""

    def new_lines(self) -> Iterator[str]:
        """The whole lines written since the last call, at most 256 KiB of them."""
        size = _size(self.path)
        if size < self._offset:
            self._offset, self._partial = 0, b""
        if size == self._offset:
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            chunk = file.read(_READ_BYTES_MAX)
        self._offset += len(chunk)
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > _LINE_BYTES_MAX:
            lines, self._partial = [*lines, self._partial], b""
        yield from (line.decode(errors="replace") for line in lines)


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log; empty when there is no such file."""
    size = _size(path)
    if not size:
        return []
    with path.open("rb") as file:
        file.seek(max(0, size - max(_READ_BYTES_MAX, count * 512)))
        text = file.read().decode(errors="replace")
    return text.splitlines()[-count:]


def keep_small(path: Path, *, size_bytes_max: int = _SIZE_BYTES_MAX) -> bool:
    """Move a log that has grown too big to `<name>.1` and go on with an empty one; True when it did.

    The writer holds the file open for appending, so its content is moved and the file cut, not renamed.
    """
    if _size(path) <= size_bytes_max:
        return False
    older = path.with_name(f"{path.name}.1")
    with path.open("rb") as source, older.open("wb") as target:
        os.fchmod(target.fileno(), 0o600)
        source.seek(-size_bytes_max, os.SEEK_END)
        while chunk := source.read(_READ_BYTES_MAX):
            target.write(chunk)
    os.truncate(path, 0)
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
