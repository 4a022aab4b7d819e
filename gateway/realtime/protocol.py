"""What the words on a WebSocket are: close codes, and client messages read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import orjson

from scheduling.errors import Invalid

CLIENT_TYPES: Final = frozenset({"authenticate", "subscribe", "unsubscribe", "ping"})
CLIENT_ID_CHARS_MAX: Final = 64


class CloseCode(IntEnum):
    """Why the gateway closes a WebSocket; the reason text says it in words."""

    GOING_AWAY = 1001
    # This instance is full, or cannot check the token at the moment.
    TRY_AGAIN_LATER = 1013
    # The client's messages are malformed, again and again.
    BAD_MESSAGES = 4400
    # No valid token.
    UNAUTHENTICATED = 4401
    # The token was revoked.
    REVOKED = 4403
    # The token is good, but may not listen.
    FORBIDDEN = 4405
    # No `authenticate` in time.
    AUTHENTICATION_TIMEOUT = 4408
    # The user has as many connections as one may have.
    TOO_MANY_CONNECTIONS = 4409
    # The token ended and was not renewed.
    TOKEN_EXPIRED = 4410
    # The client reads too slowly.
    SLOW_READER = 4413
    # Too many messages from the client.
    TOO_MANY_MESSAGES = 4429


REASONS: Final = {
    CloseCode.GOING_AWAY: "going away",
    CloseCode.TRY_AGAIN_LATER: "try again later",
    CloseCode.BAD_MESSAGES: "too many malformed messages",
    CloseCode.UNAUTHENTICATED: "unauthenticated",
    CloseCode.REVOKED: "token revoked",
    CloseCode.FORBIDDEN: "token may not listen",
    CloseCode.AUTHENTICATION_TIMEOUT: "no authenticate message in time",
    CloseCode.TOO_MANY_CONNECTIONS: "too many connections",
    CloseCode.TOKEN_EXPIRED: "token expired",
    CloseCode.SLOW_READER: "reader too slow",
    CloseCode.TOO_MANY_MESSAGES: "too many messages",
}


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """One message of a client; `id`, chosen by the client, comes back in the answer."""

    type: str
    id: str | None
    body: dict[str, Any]

    def text(self, name: str) -> str:
        """A text field, empty when absent."""
        value = self.body.get(name, "")
        if not isinstance(value, str):
            raise Invalid.field(name, "must be a string")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts with at least one entry."""
        value = self.body.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(entry, str) for entry in value):
            raise Invalid.field(name, "must be a list of strings")
        return value


def parse_message(text: str | None) -> ClientMessage:
    """Read a client's message. Refuses what is not a JSON object with a known `type`."""
    if text is None:
        raise Invalid("Messages are JSON in text frames.")
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Invalid("The message is not JSON.") from None
    if not isinstance(body, dict):
        raise Invalid("The message is not a JSON object.")
    type_, id_ = body.get("type"), body.get("id")
    if type_ not in CLIENT_TYPES:
        raise Invalid.field("type", f"must be one of {', '.join(sorted(CLIENT_TYPES))}")
    if id_ is not None and (not isinstance(id_, str) or len(id_) > CLIENT_ID_CHARS_MAX):
        raise Invalid.field("id", f"must be a string of at most {CLIENT_ID_CHARS_MAX} characters")
    return ClientMessage(type_, id_, body)
