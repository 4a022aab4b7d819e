"""Every way in which the REST API differs from plain transcoding of the contracts: here, or in the module in brackets.

- A call that creates something answers 201 with `Location`; its `Idempotency-Key` may come as a header.
- A refusal by a rule or a state is 422, something taken is 409, a stale entity tag 412, a full instance 503.
- `If-Match` fills the request's `etag`; replies carry `ETag`; `If-None-Match` is answered by 304. `Hold-Token` fills
  `hold_token`.
- Availability has a weak entity tag over its slots alone, so that `fetchedAt` does not defeat it; a 304 says
  when it was confirmed in `X-Fetched-At`.
- A repeated idempotency key is marked `Idempotent-Replayed: true`, refusals too (`refusals`).
- HEAD is answered as GET, without the body (`server`).
- A PATCH without an update mask changes what its body has. No body at all is an empty object (`calls`).
- Enum values are lower case without their type's prefix, reasons in capitals. Refusals name fields as JSON does
  (`names`).
- Every field without presence is printed; 64-bit integers are strings (`encoding`).
- Unknown fields and parameters are refused by name (`decoding`, `query`), and so is a name that stands twice in an
  object (`messages`). `null` is not given (`decoding`); neither is an empty parameter (`query`).
- Without a token an answer carries no room, and a request names no patient, appointment or hold.
- Every refusal is the seed's error body; a 429 has `retryAfter`, `limit` and `window` besides (`refusals`).
- Counted answers have the rate headers (`rate_limit`), publicly cacheable ones have not (`calls`).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc import code_pb2
from medforall.options.v1 import options_pb2

from gateway.transcoding.bindings import Binding, Segment
from gateway.transcoding.masks import paths_given
from gateway.transcoding.names import descriptor_of, json_path, message_type
from scheduling.errors import Invalid, Unauthenticated

IDEMPOTENCY_KEY = "idempotency-key"
HOLD_TOKEN = "hold-token"  # noqa: S105 - the name of a header
IDEMPOTENT_REPLAYED = "idempotent-replayed"
X_FETCHED_AT = "x-fetched-at"

_IDEMPOTENCY_FIELD = "idempotency_key"
_ETAG_FIELD = "etag"
_HOLD_TOKEN_FIELD = "hold_token"  # noqa: S105 - the name of a field
_ENTITY_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"(?:\s*,\s*(?:W/)?"[^"]*")*\s*')
_ENTITY_TAGS_CHARS_MAX = 64
_METADATA_TYPE = "medforall.availability.v1.SearchMetadata"
_SLOT_TYPE = "medforall.type.v1.Slot"
_UPDATE_MASK = "update_mask"
_TAG_DIGITS = 24

_HTTP_STATUS: Mapping[int, int] = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.ABORTED: 409,
    code_pb2.FAILED_PRECONDITION: 422,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.CANCELLED: 499,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DEADLINE_EXCEEDED: 504,
}
_HTTP_STATUS_BY_REASON: Mapping[str, int] = {"STALE_ETAG": 412, "OVERLOADED": 503}


def http_status(code: int, reason: str) -> int:
    """The HTTP status of a refusal: by its reason where that says more than the gRPC code."""
    return _HTTP_STATUS_BY_REASON.get(reason) or _HTTP_STATUS.get(code, 500)


def retry_after(seconds: float) -> str:
    """The value of `Retry-After`: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))


class Caching(Enum):
    """How long a client may keep an answer."""

    NOTHING = "no-store"
    # Patient data: kept, but asked about each time (a moved visit must not show its old time).
    REVALIDATED = "private, no-cache"
    AVAILABILITY = "private, max-age=30, must-revalidate"
    PUBLIC = "public, max-age=1800, s-maxage=3600"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What these rules make of one binding."""

    success_status: int
    caching: Caching
    takes_idempotency_key: bool
    takes_etag: bool
    takes_hold_token: bool
    # The field of the answer (its JSON name) that carries the entity tag.
    tagged: str | None
    # Where a created resource is read, and the field of the answer that holds it.
    location: Sequence[Segment] | None
    created: str | None
    # Availability: it has SearchMetadata; the weak tag covers `slots` alone, else all but the metadata.
    has_metadata: bool
    covers_slots: bool
    replays: bool


def policies(bindings: Sequence[Binding]) -> list[Policy]:
    """The policy of each binding, in order."""
    readers = {message_type(resource).full_name: binding for binding, resource in _readers(bindings)}
    return [_policy(binding, readers) for binding in bindings]


def _readers(bindings: Iterable[Binding]) -> Iterable[tuple[Binding, FieldDescriptor]]:
    """The GET routes that end in an id and return one resource."""
    for binding in bindings:
        resource = _resource(binding.reply)
        if (
            binding.http_method == "GET"
            and resource is not None
            and binding.segments[-1].field_path.endswith("_id")
        ):
            yield binding, resource


def _resource(reply: Descriptor) -> FieldDescriptor | None:
    """The reply's single message with an id: what was created, read or changed."""
    return next(
        (
            field
            for field in reply.fields
            if _is_message(field) and "id" in message_type(field).fields_by_name
        ),
        None,
    )


def _is_message(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated


def _policy(binding: Binding, readers: Mapping[str, Binding]) -> Policy:
    creates = binding.http_method == "POST" and binding.rpc.name.startswith("Create")
    created = _resource(binding.reply) if creates else None
    reader = readers.get(message_type(created).full_name) if created else None
    fields = binding.reply.fields_by_name
    tagged = next(
        (f for f in binding.reply.fields if _is_message(f) and _ETAG_FIELD in message_type(f).fields_by_name),
        None,
    )
    return Policy(
        success_status=201 if creates else 200,
        caching=_caching(binding, tagged),
        takes_idempotency_key=_has_text(binding.request, _IDEMPOTENCY_FIELD),
        takes_etag=_has_text(binding.request, _ETAG_FIELD),
        takes_hold_token=_has_text(binding.request, _HOLD_TOKEN_FIELD),
        tagged=tagged.json_name if tagged else None,
        location=reader.segments if reader else None,
        created=created.json_name if created else None,
        has_metadata=_is_of(fields.get("metadata"), _METADATA_TYPE),
        covers_slots=_is_of(fields.get("slots"), _SLOT_TYPE),
        replays="replayed" in fields,
    )


def _caching(binding: Binding, tagged: FieldDescriptor | None) -> Caching:
    if binding.http_method != "GET":
        return Caching.NOTHING
    if binding.access.rate_class == options_pb2.RATE_CLASS_AVAILABILITY:
        return Caching.AVAILABILITY
    if binding.access.anonymous:
        return Caching.PUBLIC
    return Caching.REVALIDATED if tagged else Caching.NOTHING


def _is_of(field: FieldDescriptor | None, full_name: str) -> bool:
    return field is not None and field.message_type is not None and message_type(field).full_name == full_name


def _has_text(message: Descriptor, name: str) -> bool:
    field = message.fields_by_name.get(name)
    return field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated


def method_of(method: str) -> str:
    """The method whose route serves a request of this one."""
    return "GET" if method == "HEAD" else method


def allowed_methods(routed: Sequence[str]) -> Sequence[str]:
    """The methods that an address takes, given those that it has routes for."""
    return (*routed, "HEAD") if "GET" in routed else routed


def mask_what_is_given(message: Message, inner: Message, value: Mapping[str, Any]) -> None:
    """A PATCH without an update mask changes the fields that its body has, set or null, and no others."""
    if _UPDATE_MASK not in descriptor_of(message).fields_by_name:
        return
    paths = paths_given(descriptor_of(inner), value)
    message.update_mask.CopyFrom(FieldMask(paths=paths))  # type: ignore[attr-defined]


def apply_headers(policy: Policy, headers: Mapping[str, str], message: Message) -> None:
    """Fill the fields that headers stand for. Raises Invalid when header and body disagree."""
    key = headers.get(IDEMPOTENCY_KEY)
    if key is not None and policy.takes_idempotency_key:
        _fill(message, _IDEMPOTENCY_FIELD, key, "Idempotency-Key")
    hold_token = headers.get(HOLD_TOKEN)
    if hold_token is not None:
        if not policy.takes_hold_token:
            raise Invalid.field("Hold-Token", "is not supported by this call")
        _fill(message, _HOLD_TOKEN_FIELD, hold_token, "Hold-Token")
    match = headers.get("if-match")
    if match is None or match.strip() == "*":
        return
    if policy.takes_etag:
        if not _ENTITY_TAGS.fullmatch(match):
            raise Invalid.field("If-Match", 'must be entity tags in double quotes, such as "7", or *')
        if len(match.strip()) > _ENTITY_TAGS_CHARS_MAX:
            raise Invalid.field("If-Match", f"must have at most {_ENTITY_TAGS_CHARS_MAX} characters")
        _fill(message, _ETAG_FIELD, match.strip(), "If-Match")
    elif policy.caching is Caching.NOTHING:
        # To ignore it would make a change that its sender believes to be conditional.
        raise Invalid.field("If-Match", "is not supported by this call")


def _fill(message: Message, field: str, value: str, header: str) -> None:
    given = getattr(message, field)
    if given and given != value:
        raise Invalid.field(header, f"differs from {json_path(descriptor_of(message), field)} of the request")
    setattr(message, field, value)


def success_headers(
    policy: Policy, document: Mapping[str, Any], variables: Mapping[str, str]
) -> dict[str, str]:
    """The headers that the answer's own fields call for, `ETag` of availability aside."""
    headers = {"cache-control": policy.caching.value}
    if policy.tagged is not None:
        etag = document.get(policy.tagged, {}).get(_ETAG_FIELD)
        if etag:
            headers["etag"] = etag if etag.endswith('"') else f'"{etag}"'
    if policy.location is not None and policy.created is not None:
        headers["location"] = _location(
            policy.location, document.get(policy.created, {}).get("id", ""), variables
        )
    if policy.replays and document["replayed"]:
        headers[IDEMPOTENT_REPLAYED] = "true"
    if policy.has_metadata and document.get("metadata", {}).get("stale"):
        # An answer that may miss changes is not worth keeping.
        headers["cache-control"] = Caching.REVALIDATED.value
    return headers


def _location(segments: Sequence[Segment], resource_id: str, variables: Mapping[str, str]) -> str:
    *parents, _ = segments
    return "/" + "/".join(
        [*(variables.get(part.field_path, "") or part.literal for part in parents), resource_id]
    )


def tag_availability(policy: Policy, document: dict[str, Any], headers: dict[str, str]) -> None:
    """Give an availability answer its weak tag: over the slots alone, or over all but the metadata.

    The covered part is encoded once: what was hashed is what will be sent.
    """
    if policy.covers_slots:
        covered = orjson.dumps(document["slots"])
        document["slots"] = orjson.Fragment(covered)
    else:
        covered = orjson.dumps({name: value for name, value in document.items() if name != "metadata"})
    # Half the time of blake2b where the processor has instructions for it, and most have.
    digest = hashlib.sha256(covered, usedforsecurity=False).hexdigest()
    headers["etag"] = f'W/"{digest[:_TAG_DIGITS]}"'


def is_unchanged(headers: Mapping[str, str], etag: str | None) -> bool:
    """Whether `If-None-Match` names the answer's tag (weak comparison)."""
    wanted = headers.get("if-none-match")
    if wanted is None or etag is None:
        return False
    if wanted.strip() == "*":
        return True
    return etag.removeprefix("W/") in {tag.strip().removeprefix("W/") for tag in wanted.split(",")}


_PRIVATE_KINDS = frozenset((options_pb2.RESOURCE_KIND_PATIENT, options_pb2.RESOURCE_KIND_APPOINTMENT))
_PRIVATE_FIELDS = (_HOLD_TOKEN_FIELD,)


def guard_anonymous_request(message: Message) -> None:
    """Refuse a call without a token that names a patient, appointment or hold. Raises Unauthenticated."""
    for field, _ in message.ListFields():
        if (
            field.name in _PRIVATE_FIELDS
            or field.GetOptions().Extensions[options_pb2.names] in _PRIVATE_KINDS
        ):
            raise Unauthenticated(f"A bearer token is required to use {field.json_name}.")


def strip_anonymous(policy: Policy, reply: Descriptor, raw: bytes) -> bytes:
    """Take out of the bytes of a `reply` what nobody outside the clinic needs to know: its rooms."""
    if not policy.covers_slots:
        return raw
    found: Any = message_factory.GetMessageClass(reply).FromString(raw)
    for slot in found.slots:
        slot.ClearField("room_options")
    stripped: bytes = found.SerializeToString()
    return stripped
