"""How far a reader has come in the two event streams: the id of every realtime message.

A position names the last sequence read in each stream. Two instances may interleave the streams differently;
a position means the same on all of them: everything up to both sequences has been read, and nothing after.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scheduling.errors import Invalid

_FORM: Final = re.compile(r"(\d{1,18})-(\d{1,18})(?:\.(\d{1,2}))?(?:~([0-9a-z]{1,16}))?", re.ASCII)


class Source(StrEnum):
    """An event stream."""

    APPOINTMENTS = "APPOINTMENTS"
    DIRECTORY = "DIRECTORY"


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to these sequences has been read.

    `part` counts the messages of the directory event after `directory` that have been read too: one event
    may make several messages. `epoch` names the streams' incarnation; sequences of another mean nothing.
    """

    appointments: int = 0
    directory: int = 0
    part: int = 0
    epoch: str = ""

    def __str__(self) -> str:
        """Write it as `1042-17~k3f9`, or `1042-17.1~k3f9` between two messages of one event."""
        part = f".{self.part}" if self.part else ""
        epoch = f"~{self.epoch}" if self.epoch else ""
        return f"{self.appointments}-{self.directory}{part}{epoch}"

    def covers(self, source: Source, message: "Position") -> bool:
        """Tell whether the message of `source` that ends at `message` has been read."""
        if source is Source.APPOINTMENTS:
            return message.appointments <= self.appointments
        return (message.directory, message.part) <= (self.directory, self.part)

    def joined(self, other: "Position") -> "Position":
        """Return the position of a reader who has come as far as both; `other` itself when its epoch is another."""
        if self.epoch and other.epoch and self.epoch != other.epoch:
            return other
        directory, part = max((self.directory, self.part), (other.directory, other.part))
        return Position(max(self.appointments, other.appointments), directory, part, other.epoch)

    def reaches(self, other: "Position") -> bool:
        """Tell whether this is as far as `other` in both streams."""
        return self.covers(Source.APPOINTMENTS, other) and self.covers(Source.DIRECTORY, other)

    def after(self, source: Source, sequence: int) -> "Position":
        """Return the position once the whole event `sequence` of `source` is read."""
        if source is Source.APPOINTMENTS:
            return Position(sequence, self.directory, self.part, self.epoch)
        return Position(self.appointments, sequence, 0, self.epoch)

    def within(self, sequence: int, part: int) -> "Position":
        """Return the position once only `part` messages of the directory event `sequence` are read."""
        return Position(self.appointments, sequence - 1, part, self.epoch)


def parse_position(text: str) -> Position:
    """Read what `str` of a position wrote. Refuses anything else."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise Invalid.field("resumeFrom", "is not the id of a message")
    appointments, directory, part, epoch = match.groups()
    return Position(int(appointments), int(directory), int(part or 0), epoch or "")
