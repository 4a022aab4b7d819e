"""Query strings into request fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gateway.transcoding.decoding import Decoder, Violations, Wrong, parse_text

PARAMETERS_MAX = 200


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """The parameters of a query string, each with its values in order.

    Raises ValueError when it is not UTF-8 or has more than 200 parameters.
    """
    if not raw:
        return {}
    values: dict[str, list[str]] = {}
    for name, value in _pairs(raw.decode("ascii")):
        values.setdefault(name, []).append(value)
    return values


def _pairs(text: str) -> Iterable[Sequence[str]]:
    if "%" in text or "+" in text or text.count("&") >= PARAMETERS_MAX:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    # Nothing is encoded, as in most queries: a third of the time.
    return [part.partition("=")[::2] for part in text.split("&") if part]


def fill_from_query(
    parameters: Mapping[str, list[str]],
    fields: Mapping[str, FieldDescriptor],
    message: Message,
    decoder: Decoder,
    violations: Violations,
) -> None:
    """Fill `message` from parameters; `fields` has those allowed, by JSON name.

    A list may be repeated (`a=1&a=2`), comma-separated (`a=1,2`), or both. An empty one counts as not given.
    """
    for name, texts in parameters.items():
        field = fields.get(name)
        if field is None:
            violations.add(name[:64], "is not a parameter of this request")
            continue
        try:
            value = _value(field, texts)
        except Wrong as wrong:
            violations.add(name, str(wrong))
            continue
        decoder.decode_field(field, value, message, violations, name)


def _value(field: FieldDescriptor, texts: list[str]) -> Any:
    """The JSON value of a parameter. Raises Wrong."""
    if field.is_repeated:
        items = [item for text in texts for item in text.split(",") if item]
        return [parse_text(field, item) for item in items]
    if len(texts) > 1:
        raise Wrong("is given more than once")
    return parse_text(field, texts[0]) if texts[0] else None
