"""What is read of a clinic's directory at once."""

from dataclasses import dataclass
from typing import Final

PartId = tuple[str, str]
"""A clinic's id, and a location's or OUTLINE."""

OUTLINE: Final = "outline"
"""The part that tells which locations a clinic has, and where each resource is."""


@dataclass(frozen=True, slots=True)
class Document:
    """What PostgreSQL said of a part of a directory, as JSON, and the directory's version at that moment."""

    text: bytes
    version: int
