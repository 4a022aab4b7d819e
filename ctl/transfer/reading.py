"""Files as entries, one after the other, each with the lines that its values stand in. Memory is bounded.

YAML is read event by event, with plain words: what a word means follows from the field it stands for, so that
`17:00` stays a time and `no` a word. Anchors, aliases and tags are refused.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from ctl.transfer.faults import Fault, UnreadableError

Tree = Any
Where = tuple[str | int, ...]
Header = tuple[str, ...]

_NULLS: Final = ("", "~", "null")
DEPTH_MAX: Final = 20
ITEMS_MAX: Final = 100_000
"""Values in one entry."""


class Plain(str):
    """A word of YAML without quotes, which may be a number or a truth value."""

    __slots__ = ()


@dataclass(slots=True)
class RawEntry:
    """An entry as the file has it: nested words, and the line of each value by its path."""

    file: Path
    section: str
    line: int
    tree: Tree
    lines: dict[Where, int] = field(default_factory=dict)

    def line_of(self, where: Where) -> int:
        """The line of a value, or of the nearest thing around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, self.line)

    def fault(self, where: Where, what: str) -> Fault:
        """Something wrong with a value."""
        return Fault(self.file, self.line_of(where), self.section, path_text(where), what)


class Document(Protocol):
    """Entries of a clinic, in an order in which they can be written; read more than once."""

    def entries(self) -> Iterator[RawEntry]:
        """Every entry. Raises UnreadableError."""


def path_text(where: Where) -> str:
    """`("hours", 0, "start")` as `hours[0].start`."""
    text = ""
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def read_yaml(path: Path) -> Iterator[RawEntry]:
    """The entries of a clinic's file, in its order. Raises UnreadableError for what is not such a file."""
    try:
        with path.open("rb") as stream:
            yield from _Document(path, yaml.parse(stream, Loader=yaml.CSafeLoader)).entries()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(path, 0, getattr(error, "strerror", None) or "it is not text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        raise UnreadableError(path, line, getattr(error, "problem", None) or "is not YAML") from error


def read_csv(path: Path, section: str) -> Iterator[RawEntry]:
    """The rows of a table; a header such as `contact.phone` names a field of a field. Cells are texts, or null."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, strict=True)
            header = _header(path, next(rows, []))
            for row in rows:
                if row:
                    yield _row(path, section, rows.line_num, header, row)
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(path, 0, getattr(error, "strerror", None) or "it is not UTF-8") from error
    except csv.Error as error:
        raise UnreadableError(path, rows.line_num, str(error)) from error


def _header(path: Path, names: list[str]) -> list[Header]:
    """Where each column's cells belong. Raises UnreadableError for columns that speak of the same field."""
    header = [tuple(name.strip().split(".")) for name in names]
    for place, where in enumerate(header):
        if not all(where):
            raise UnreadableError(path, 1, f"column {place + 1} names no field")
        for other in header[:place]:
            if other[: len(where)] == where[: len(other)]:
                told = " and ".join(sorted({".".join(other), ".".join(where)}))
                raise UnreadableError(path, 1, f"has several columns for {told}")
    return header


def _row(path: Path, section: str, line: int, header: list[Header], row: list[str]) -> RawEntry:
    if len(row) != len(header):
        raise UnreadableError(path, line, f"has {len(row)} cells, the header has {len(header)}")
    tree: dict[str, Any] = {}
    for (*parents, last), cell in zip(header, row, strict=True):
        holder = tree
        for parent in parents:
            holder = holder.setdefault(parent, {})
        holder[last] = cell or None
    return RawEntry(path, section, line, tree)


class _Document:
    """One YAML document: a mapping of sections."""

    def __init__(self, path: Path, events: Iterator[yaml.Event]) -> None:
        self._path = path
        self._events = events

    def entries(self) -> Iterator[RawEntry]:
        for expected in (yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.MappingStartEvent):
            event = next(self._events)
            if not isinstance(event, expected):
                raise self._unreadable(event, "must be a mapping of sections")
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._unreadable(event, "must be the word of a section")
            yield from self._section(event.value)
        next(self._events)
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            raise self._unreadable(event, "is a second document; put its sections into the first")

    def _section(self, word: str) -> Iterator[RawEntry]:
        event = next(self._events)
        if isinstance(event, yaml.ScalarEvent) and event.value in _NULLS:
            return
        if isinstance(event, yaml.MappingStartEvent):
            yield self._entry(word, event)
            return
        if not isinstance(event, yaml.SequenceStartEvent):
            raise self._unreadable(event, f"section {word} must be a list")
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._entry(word, event)

    def _entry(self, word: str, event: yaml.Event) -> RawEntry:
        entry = RawEntry(self._path, word, _line(event), None)
        entry.tree = self._value(event, (), entry.lines)
        return entry

    def _value(self, event: yaml.Event, where: Where, lines: dict[Where, int]) -> Tree:
        lines[where] = _line(event)
        if len(where) > DEPTH_MAX or len(lines) > ITEMS_MAX:
            raise self._unreadable(event, "is too large for one entry")
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise self._unreadable(event, "must not have anchors, aliases or tags")
        if isinstance(event, yaml.ScalarEvent):
            return _word(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(where, lines)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(where, lines)
        raise self._unreadable(event, "cannot be read")

    def _list(self, where: Where, lines: dict[Where, int]) -> list[Tree]:
        found: list[Tree] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*where, len(found)), lines))
        return found

    def _mapping(self, where: Where, lines: dict[Where, int]) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._unreadable(event, "must be a plain name")
            if event.value in found:
                raise self._unreadable(event, f"{event.value} is given twice")
            found[event.value] = self._value(next(self._events), (*where, event.value), lines)
        return found

    def _unreadable(self, event: yaml.Event, what: str) -> UnreadableError:
        return UnreadableError(self._path, _line(event), what)


def _word(event: yaml.ScalarEvent) -> Tree:
    if event.style not in (None, ""):
        return str(event.value)
    return None if event.value in _NULLS else Plain(event.value)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0
