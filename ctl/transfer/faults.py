"""What is wrong with a file, by file and line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ctl.failures import CtlError


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong value: where it stands, and what to change. Never shows the value: it may be a patient's."""

    file: Path
    line: int
    section: str
    field: str
    what: str

    def __str__(self) -> str:
        place = f"{self.section}: {self.field}" if self.field else self.section
        return f"{self.file}:{self.line}: {place} {self.what}"


class UnreadableError(CtlError):
    """A file that cannot be read on: nothing is known of what follows."""

    def __init__(self, file: Path, line: int, what: str) -> None:
        super().__init__(f"{file}:{line}: {what}.", hint="Nothing was changed.")


class FaultyFileError(CtlError):
    """Files with faults, which were printed."""
