"""The OpenAPI 3.1 document of everything that the contracts route, and of realtime's own addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from medforall.options.v1 import options_pb2

from chassis.config import load
from gateway.http_policy import Caching, Policy, policies
from gateway.realtime.paths import TICKET_SCHEME, realtime_paths
from gateway.schemas import Schema, Schemas, is_demanded
from gateway.settings import RateSettings
from gateway.transcoding.bindings import WHOLE_BODY, Binding, field_at
from gateway.transcoding.names import json_path, message_type

_INTRODUCTION = """Appointments for many clinics. The same contracts serve gRPC.

- Every call but the anonymous ones carries `Authorization: Bearer <JWT>`; the clinic in the address is the token's.
- Names are those of the contract in camelCase. Unknown parameters and fields are refused by name. Enum values are
  lower case. 64-bit integers are strings. Fields without a value are printed, optional ones left out.
- Every refusal has the shape of `Error`.
- A mutating call takes an `Idempotency-Key`: the same key and request give the first answer again.
- Events are in `/asyncapi.json`."""

_ROLES = {number: name.removeprefix("ROLE_").lower() for name, number in options_pb2.Role.items()}
_CLASSES = {
    number: name.removeprefix("RATE_CLASS_").lower() for name, number in options_pb2.RateClass.items()
}

# What holds unless an installation is set otherwise.
_RATES = load(RateSettings, {}).table

_ERROR: Schema = {
    "type": "object",
    "description": "Every refusal, whatever refused it.",
    "required": ["error", "message", "details", "requestId"],
    "properties": {
        "error": {
            "type": "string",
            "description": "Machine-readable reason, `SLOT_ALREADY_BOOKED` for example.",
        },
        "message": {"type": "string", "description": "A sentence for people; never a patient's data."},
        "details": {
            "type": "object",
            "description": "What the reason needs: `violations`, `bookingConflict`, `nextValid` and the like.",
            "properties": {
                "violations": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "description"],
                        "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                    },
                },
                "bookingConflict": {"$ref": "#/components/schemas/BookingConflict"},
            },
        },
        "requestId": {"type": "string", "description": "Quote it when you report a problem."},
        "retryAfter": {"type": "integer", "description": "Seconds; only in 429."},
        "limit": {"type": "integer", "description": "Requests a minute; only in 429."},
        "window": {"type": "string", "description": "Only in 429."},
    },
}

_REFUSALS: Mapping[str, str] = {
    "400": "The request is malformed; `details.violations` names every field.",
    "401": "No token, or one that does not verify.",
    "403": "The token's role or scopes do not suffice.",
    "404": "Unknown, or another clinic's: the two look the same.",
    "429": "A rate limit is used up.",
    "503": "A service is away or full; come again after `Retry-After`.",
}
_MUTATION_REFUSALS: Mapping[str, str] = {
    "409": "Taken, out of date, or still running.",
    "412": "Changed since it was read.",
    "413": "The body is larger than 1 MiB.",
    "415": "The body is not application/json.",
    "422": "A rule or a state says no.",
}


_EVERYWHERE: Mapping[str, str] = {"X-Request-Id": "The request's id."}
_RATE_HEADERS: Mapping[str, str] = {
    "X-RateLimit-Limit": "Requests a minute of the bucket that this call took from.",
    "X-RateLimit-Remaining": "Requests that are left in it now.",
    "X-RateLimit-Reset": "When it is full again, in seconds since 1970.",
}
_RETRY: Mapping[str, str] = {"Retry-After": "Seconds to wait."}
_REFUSAL_HEADERS: Mapping[str, Mapping[str, str]] = {
    "401": {"WWW-Authenticate": "The scheme: `Bearer`."},
    "409": {"Idempotent-Replayed": "`true` when this is the first refusal again.", **_RETRY},
    "422": {"Idempotent-Replayed": "`true` when this is the first refusal again."},
    "429": _RETRY,
    "503": _RETRY,
}
# A full instance answers before it counts.
_UNCOUNTED = frozenset(("503", "default"))


def build_document(
    bindings: Sequence[Binding], comments: Mapping[str, str], *, version: str
) -> dict[str, Any]:
    """The document of `bindings`, in their order; `comments` are the contracts', by full name."""
    schemas = Schemas(comments)
    schemas.answer(_conflict())
    paths: dict[str, dict[str, Any]] = {}
    for binding, policy in zip(bindings, policies(bindings), strict=True):
        operation = _operation(binding, policy, schemas, comments)
        paths.setdefault(_path(binding), {})[binding.http_method.lower()] = operation
    services = {binding.service.full_name: binding.service for binding in bindings}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "medforall",
            "version": version,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": service.name, "description": comments.get(service.full_name, "")}
            for service in services.values()
        ],
        "paths": paths | realtime_paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                **TICKET_SCHEME,
            },
            "schemas": {**schemas.made, "Error": _ERROR},
            "responses": {
                status: _refusal(status, text) for status, text in {**_REFUSALS, **_MUTATION_REFUSALS}.items()
            }
            | {"default": _refusal("default", "Any other refusal.")},
        },
    }


def _conflict() -> Any:
    from medforall.type.v1 import scheduling_pb2  # noqa: PLC0415 - next to its only use

    return scheduling_pb2.BookingConflict.DESCRIPTOR


def _refusal(status: str, description: str) -> Schema:
    headers = {**_EVERYWHERE, **_REFUSAL_HEADERS.get(status, {})}
    if status not in _UNCOUNTED:
        headers |= _RATE_HEADERS
    return {
        "description": description,
        "headers": _described(headers),
        "content": _json({"$ref": "#/components/schemas/Error"}),
    }


def _described(headers: Mapping[str, str]) -> Schema:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _path(binding: Binding) -> str:
    parts = (
        f"{{{json_path(binding.request, segment.field_path)}}}" if segment.field_path else segment.literal
        for segment in binding.segments
    )
    return "/" + "/".join(parts) + binding.verb


def _operation(
    binding: Binding, policy: Policy, schemas: Schemas, comments: Mapping[str, str]
) -> dict[str, Any]:
    comment = comments.get(f"{binding.service.full_name}.{binding.rpc.name}", "")
    summary, _, rest = comment.partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": _operation_id(binding),
        "tags": [binding.service.name],
        "summary": summary,
        "description": "\n\n".join(part for part in (rest, _access_text(binding)) if part),
        "parameters": [
            *_path_parameters(binding, schemas),
            *_query_parameters(binding, schemas),
            *_headers(binding, policy),
        ],
        "responses": _responses(binding, policy, schemas),
        "x-scopes": sorted(binding.access.scopes),
        "x-roles": [_ROLES[role] for role in binding.access.roles],
        "x-rate-class": _CLASSES[binding.access.rate_class],
    }
    if binding.body:
        operation["requestBody"] = _body(binding, schemas)
    if binding.access.anonymous:
        operation["security"] = [{}, {"bearer": []}]
    return operation


def _operation_id(binding: Binding) -> str:
    """The RPC's name; another route of it is named by its custom method and what it is about."""
    if binding.is_additional:
        return binding.verb[1:] + binding.segments[-1].literal.title()
    name = binding.rpc.name
    return name[0].lower() + name[1:]


def _access_text(binding: Binding) -> str:
    access = binding.access
    rate = _RATES.authenticated.get(access.rate_class)
    anonymous = _RATES.anonymous.get(access.rate_class) if access.anonymous else None
    sentences = []
    if access.scopes:
        sentences.append(f"Scope: {' or '.join(f'`{scope}`' for scope in sorted(access.scopes))}.")
    sentences.append(f"Roles: {', '.join(_ROLES[role] for role in access.roles)}.")
    if rate is not None:
        sentences.append(f"Rate: {rate.per_min} a minute, burst {rate.burst}.")
    if anonymous is not None:
        sentences.append(f"Without a token, where the clinic allows it: {anonymous.per_min} a minute.")
    return " ".join(sentences)


def _path_parameters(binding: Binding, schemas: Schemas) -> list[Schema]:
    found = []
    for segment in binding.segments:
        field = field_at(binding.request, segment.field_path) if segment.field_path else None
        if field is not None:
            found.append(
                _parameter(
                    "path", json_path(binding.request, segment.field_path), field, schemas, is_required=True
                )
            )
    return found


def _query_parameters(binding: Binding, schemas: Schemas) -> list[Schema]:
    return [
        _parameter("query", field.json_name, field, schemas, is_required=is_demanded(field))
        for field in binding.query_fields
    ]


def _parameter(
    place: str, name: str, field: FieldDescriptor, schemas: Schemas, *, is_required: bool
) -> Schema:
    schema = schemas.field(field, is_request=True)
    description = schema.pop("description", "")
    parameter: Schema = {"name": name, "in": place, "required": is_required}
    if description:
        parameter["description"] = description
    if field.is_repeated:
        parameter |= {"style": "form", "explode": False}
    return {**parameter, "schema": schema}


def _headers(binding: Binding, policy: Policy) -> list[Schema]:
    found = []
    if policy.takes_idempotency_key:
        found.append(
            _header("Idempotency-Key", "One per intent, a UUID is best; kept for 72 hours.", max_length=255)
        )
    if policy.takes_hold_token:
        found.append(
            _header("Hold-Token", "The same as `holdToken`, in no address and no log.", max_length=128)
        )
    if policy.takes_etag:
        found.append(
            _header("If-Match", "The `ETag` that was read; 412 when it has changed since.", max_length=64)
        )
    if binding.http_method == "GET" and policy.caching is not Caching.NOTHING:
        found.append(_header("If-None-Match", "The `ETag` of the answer at hand; 304 when it still holds."))
    return found


def _header(name: str, description: str, max_length: int = 1_024) -> Schema:
    schema = {"type": "string", "maxLength": max_length, "pattern": "^[!-~ ]*$"}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _body(binding: Binding, schemas: Schemas) -> Schema:
    if binding.body == WHOLE_BODY:
        schema = schemas.request(binding.request, omit=binding.path_fields)
        fields: Sequence[FieldDescriptor] = [
            f for f in binding.request.fields if f.name not in binding.path_fields
        ]
    else:
        field = binding.request.fields_by_name[binding.body]
        schema = schemas.request(message_type(field))
        fields = message_type(field).fields
    return {"required": any(is_demanded(field) for field in fields), "content": _json(schema)}


def _responses(binding: Binding, policy: Policy, schemas: Schemas) -> Schema:
    answer: Schema = {
        "description": "Created." if policy.success_status == 201 else "Done.",
        "headers": _answer_headers(policy),
        "content": _json(schemas.answer(binding.reply)),
    }
    statuses = {**_REFUSALS, **(_MUTATION_REFUSALS if binding.access.mutating or binding.body else {})}
    responses: Schema = {str(policy.success_status): answer}
    if binding.http_method == "GET" and policy.caching is not Caching.NOTHING:
        kept = _answer_headers(policy)
        if policy.has_metadata:
            kept |= _described({"X-Fetched-At": "When that was so."})
        responses["304"] = {"description": "What you have still holds.", "headers": kept}
    responses |= {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    return {**responses, "default": {"$ref": "#/components/responses/default"}}


def _answer_headers(policy: Policy) -> Schema:
    names = {**_EVERYWHERE, "Cache-Control": f"`{policy.caching.value}`."}
    if policy.caching is not Caching.PUBLIC:
        names |= _RATE_HEADERS
    if policy.tagged is not None or policy.caching is Caching.AVAILABILITY:
        names["ETag"] = "The answer's entity tag."
    if policy.location is not None:
        names["Location"] = "Where it can be read."
    if policy.replays:
        names["Idempotent-Replayed"] = "`true` when this is the first answer again."
    return _described(names)
