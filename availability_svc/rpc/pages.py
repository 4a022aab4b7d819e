"""Page tokens: where a page ended, bound to the search that it belongs to."""

import base64
import binascii
import struct
from hashlib import blake2b
from typing import Final
from uuid import UUID

from medforall.availability.v1 import availability_pb2

from scheduling.errors import Invalid
from scheduling.slots import SlotKey

_LAYOUT: Final = struct.Struct(">8sIH16s")
_NOT_THE_SEARCH: Final = ("page_token", "limit", "consistency_token", "hold_token")


def page_token(request: availability_pb2.SearchSlotsRequest, key: SlotKey) -> str:
    """Return the token of the page after `key`."""
    raw = _LAYOUT.pack(_digest(request), key.start_min, key.score, UUID(key.provider_id).bytes)
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def parse_page_token(request: availability_pb2.SearchSlotsRequest) -> SlotKey | None:
    """Return where the request's page begins; None for the first. Raises Invalid for another search's token."""
    if not request.page_token:
        return None
    try:
        text = request.page_token.encode("ascii")
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        digest, start_min, score, provider = _LAYOUT.unpack(raw)
    except (binascii.Error, struct.error, ValueError):
        raise Invalid.field("page_token", "is not a token of this service") from None
    if digest != _digest(request):
        raise Invalid.field("page_token", "belongs to another search")
    return SlotKey(start_min, str(UUID(bytes=provider)), score)


def _digest(request: availability_pb2.SearchSlotsRequest) -> bytes:
    """Return eight bytes that differ for every other search."""
    search = availability_pb2.SearchSlotsRequest()
    search.CopyFrom(request)
    for name in _NOT_THE_SEARCH:
        search.ClearField(name)
    return blake2b(search.SerializeToString(deterministic=True), digest_size=8).digest()
