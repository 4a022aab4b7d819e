"""Finds the binding of a request: one dictionary step per path segment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

from gateway.transcoding.bindings import Binding

TargetT = TypeVar("TargetT")

_SEGMENTS_MAX = 16
_VERB_SEPARATORS = (":", "%3A", "%3a")


@dataclass(frozen=True, slots=True)
class Found(Generic[TargetT]):
    """A target with its path variables, by field path, percent-decoded."""

    target: TargetT
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """The path exists, with other methods."""

    allowed: tuple[str, ...]


@dataclass(slots=True)
class _Node(Generic[TargetT]):
    literals: dict[str, _Node[TargetT]] = field(default_factory=dict)
    variable: _Node[TargetT] | None = None
    # Targets that end here, by custom method and HTTP method, each with the field path of every variable.
    ends: dict[str, dict[str, tuple[TargetT, tuple[str, ...]]]] = field(default_factory=dict)


class Router(Generic[TargetT]):
    """Routes of the contracts; a literal segment is preferred to a variable."""

    def __init__(self, routes: Iterable[tuple[Binding, TargetT]]) -> None:
        self._root: _Node[TargetT] = _Node()
        for binding, target in routes:
            self._add(binding, target)

    def _add(self, binding: Binding, target: TargetT) -> None:
        node = self._root
        for segment in binding.segments:
            if segment.field_path:
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment.literal, _Node())
        variables = tuple(segment.field_path for segment in binding.segments if segment.field_path)
        node.ends.setdefault(binding.verb, {})[binding.http_method] = (target, variables)

    def find(self, method: str, raw_path: str) -> Found[TargetT] | WrongMethod | None:
        """The target of a request; `raw_path` is still percent-encoded, so that `%2F` splits no segment."""
        segments, verb = _split(raw_path)
        if len(segments) > _SEGMENTS_MAX:
            return None
        values: list[str] = []
        by_method = _descend(self._root, segments, 0, verb, values)
        if by_method is None:
            return None
        end = by_method.get(method)
        if end is None:
            return WrongMethod(tuple(sorted(by_method)))
        target, names = end
        return Found(target, dict(zip(names, map(unquote, values), strict=True)))


def _split(raw_path: str) -> tuple[list[str], str]:
    segments = raw_path[1:].split("/")
    last = segments[-1]
    for separator in _VERB_SEPARATORS:
        head, found, tail = last.partition(separator)
        if found:
            segments[-1] = head
            return segments, ":" + tail
    return segments, ""


def _descend(
    node: _Node[TargetT], segments: list[str], depth: int, verb: str, values: list[str]
) -> dict[str, tuple[TargetT, tuple[str, ...]]] | None:
    if depth == len(segments):
        return node.ends.get(verb)
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None:
        found = _descend(literal, segments, depth + 1, verb, values)
        if found is not None:
            return found
    if node.variable is None or not segment:
        return None
    values.append(segment)
    found = _descend(node.variable, segments, depth + 1, verb, values)
    if found is None:
        values.pop()
    return found
