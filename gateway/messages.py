"""HTTP requests and replies as the gateway handles them: thin, over ASGI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from gateway.problems import BodyTooLarge, ClientGone, MalformedRequest
from gateway.transcoding.query import parse_query
from scheduling.errors import Invalid

JSON = "application/json"

# A second one of these would leave open which one counts, here and in whatever stands in front.
_SINGLE_HEADERS = frozenset(
    ("authorization", "content-type", "hold-token", "idempotency-key", "if-match", "if-none-match")
)


class Request:
    """One HTTP request; `raw_path` is still percent-encoded, header names are lower case."""

    __slots__ = ("headers", "method", "query", "raw_path", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.raw_path: str = scope["raw_path"].decode("latin-1")
        self.query: bytes = scope["query_string"]
        self.headers = _headers(scope["headers"])

    @property
    def has_body(self) -> bool:
        """Whether a body is announced."""
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    async def body(self, bytes_max: int) -> bytes:
        """The whole body. Raises BodyTooLarge beyond `bytes_max`, ClientGone when it ends early."""
        announced = self.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > bytes_max:
            raise BodyTooLarge(bytes_max)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > bytes_max:
                raise BodyTooLarge(bytes_max)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _headers(raw: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        if key in headers and key in _SINGLE_HEADERS:
            raise MalformedRequest(f"The header {key} is given more than once.")
        headers[key] = value.decode("latin-1")
    return headers


def read_query(raw: bytes) -> dict[str, list[str]]:
    """The parameters of a query string, each with its values in order. Raises MalformedRequest."""
    try:
        return parse_query(raw)
    except ValueError:
        raise MalformedRequest("The query string is not UTF-8, or has too many parameters.") from None


def read_json(raw: bytes) -> Any:
    """The value of a body. Raises MalformedRequest, and Invalid for an object with a name twice."""
    try:
        value = orjson.loads(raw)
        json.loads(raw, object_pairs_hook=_once)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"The body is not JSON: line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise MalformedRequest("The body is nested too deep.") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise Invalid.field(name[:64], "is given more than once")
        seen.add(name)


@dataclass(slots=True)
class Reply:
    """One HTTP answer; header names are lower case."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, send: Send) -> None:
        """Write it to the client."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.status != 304:
            raw.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer with `value` as JSON."""
    return Reply(status, orjson.dumps(value), {"content-type": JSON, **(headers or {})})
