"""One REST call's way: route, token, rate limit, request message, RPC, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc.aio import Metadata

from chassis.auth.principal import Principal
from chassis.grpc.address import CLIENT_ADDRESS
from chassis.grpc.context import CallContext, current_call, enter_call
from chassis.interceptors.methods import Method
from chassis.tracing import current_traceparent
from gateway import http_policy
from gateway.authentication import AUTHORIZATION, Authenticator, authorize
from gateway.exchange import RATE
from gateway.http_policy import Caching, Policy
from gateway.messages import JSON, Reply, Request, read_json, read_query
from gateway.problems import BodyTimeout, MethodNotAllowed, NoRoute, UnsupportedMediaType
from gateway.rate_limit import Limiter
from gateway.transcoding.bindings import WHOLE_BODY, Binding, field_at
from gateway.transcoding.decoding import Decoder, Violations, Wrong, parse_text
from gateway.transcoding.encoding import Encode
from gateway.transcoding.names import RestNames
from gateway.transcoding.query import fill_from_query
from gateway.transcoding.router import Router, WrongMethod
from gateway.upstreams import Invoke
from scheduling.errors import Invalid, NotFound


class PublicClinics(Protocol):
    """Knows which clinics opened public search."""

    async def is_open(self, clinic_id: str) -> bool:
        """Whether this clinic answers callers without a token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route, ready to serve."""

    binding: Binding
    method: Method
    policy: Policy
    new_request: type[Message]
    query_fields: Mapping[str, FieldDescriptor]
    path_fields: Sequence[tuple[str, FieldDescriptor]]
    encode: Encode
    invoke: Invoke
    names: RestNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one call."""

    body_bytes_max: int = 1_048_576
    body_timeout_s: float = 10.0
    call_timeout_s: float = 30.0


class Calls:
    """Serves every route of the contracts."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        authenticator: Authenticator,
        limiter: Limiter,
        public_clinics: PublicClinics,
        limits: Limits,
    ) -> None:
        self._router = Router([(endpoint.binding, endpoint) for endpoint in endpoints])
        self._authenticator = authenticator
        self._limiter = limiter
        self._public_clinics = public_clinics
        self._limits = limits
        self._decoder = Decoder()

    def route(self, request: Request) -> tuple[Endpoint, Mapping[str, str]]:
        """The endpoint of a request and its path variables. Raises NoRoute or MethodNotAllowed."""
        found = self._router.find(http_policy.method_of(request.method), request.raw_path)
        if found is None:
            raise NoRoute
        if isinstance(found, WrongMethod):
            raise MethodNotAllowed(http_policy.allowed_methods(found.allowed))
        return found.target, found.variables

    async def serve(self, request: Request, endpoint: Endpoint, variables: Mapping[str, str]) -> Reply:
        """Answer one request. Raises what `Refusals` turns into an answer; rate headers go to the scope."""
        principal = await self._authenticator.principal(
            request.headers, current_call().client_address or "", endpoint.method
        )
        _enter(principal, endpoint.method.path)
        await self._admit(request, endpoint, variables, principal)
        message = await self._message(request, endpoint, variables)
        http_policy.apply_headers(endpoint.policy, request.headers, message)
        if principal is None and not endpoint.method.public:
            http_policy.guard_anonymous_request(message)
        raw = await endpoint.invoke(message, self._remaining_s(), _metadata(request))
        if principal is None and not endpoint.method.public:
            raw = http_policy.strip_anonymous(endpoint.policy, endpoint.binding.reply, raw)
        if endpoint.policy.caching is Caching.PUBLIC:
            # What a cache gives to everybody says nothing of the one who asked first.
            del request.scope[RATE]
        return _answer(endpoint, request, variables, endpoint.encode(raw))

    async def _admit(
        self, request: Request, endpoint: Endpoint, variables: Mapping[str, str], principal: Principal | None
    ) -> None:
        clinic_id = principal.clinic_id if principal else variables.get("clinic_id", "").lower()
        rate = await self._limiter.admit(
            principal, current_call().client_address or "", clinic_id, endpoint.binding.access.rate_class
        )
        request.scope[RATE] = rate
        if principal is not None:
            authorize(endpoint.method, principal, variables)
            self._limiter.learn(principal, request.headers[AUTHORIZATION])
        elif not endpoint.method.public and not await self._public_clinics.is_open(clinic_id):
            raise NotFound("There is no such clinic, or it is not open to callers without a token.")

    async def _message(self, request: Request, endpoint: Endpoint, variables: Mapping[str, str]) -> Message:
        """The request message. Raises Invalid with every fault, or an HttpProblem for the body as such."""
        message = endpoint.new_request()
        violations = Violations()
        if endpoint.binding.body:
            await self._fill_from_body(request, endpoint, message, violations)
        elif request.has_body:
            violations.add("body", "is not taken by this call")
        self._fill_from_query(request, endpoint, message, violations)
        self._fill_from_path(endpoint, variables, message, violations)
        if violations.found:
            first = violations.found[0]
            more = f" (and {len(violations.found) - 1} more)" if len(violations.found) > 1 else ""
            raise Invalid(f"{first.field}: {first.description}{more}", violations=violations.found)
        return message

    async def _fill_from_body(
        self, request: Request, endpoint: Endpoint, message: Message, violations: Violations
    ) -> None:
        value = await self._json_body(request)
        body = endpoint.binding.body
        if body == WHOLE_BODY:
            self._decoder.decode(value, message, violations)
            return
        inner = getattr(message, body)
        inner.SetInParent()
        self._decoder.decode(value, inner, violations)
        if (
            isinstance(value, dict)
            and endpoint.binding.http_method == "PATCH"
            and "updateMask" not in request.query.decode("latin-1")
        ):
            http_policy.mask_what_is_given(message, inner, value)

    async def _json_body(self, request: Request) -> Any:
        """The body as JSON; no body at all is an empty object, so that `:confirm` needs none."""
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                raw = await request.body(self._limits.body_bytes_max)
        except TimeoutError:
            raise BodyTimeout(headers={"connection": "close"}) from None
        if not raw:
            return {}
        _check_media_type(request.headers)
        return read_json(raw)

    def _fill_from_query(
        self, request: Request, endpoint: Endpoint, message: Message, violations: Violations
    ) -> None:
        parameters = read_query(request.query)
        fill_from_query(parameters, endpoint.query_fields, message, self._decoder, violations)

    def _fill_from_path(
        self, endpoint: Endpoint, variables: Mapping[str, str], message: Message, violations: Violations
    ) -> None:
        for path, field in endpoint.path_fields:
            *parents, name = path.split(".")
            target = message
            for parent in parents:
                target = getattr(target, parent)
            given = getattr(target, name)
            try:
                self._decoder.decode_field(
                    field, parse_text(field, variables[path]), target, violations, field.json_name
                )
            except Wrong as wrong:
                violations.add(field.json_name, str(wrong))
            if given and given != getattr(target, name):
                violations.add(field.json_name, "differs from the address")

    def _remaining_s(self) -> float:
        remaining_s = current_call().remaining_s()
        return self._limits.call_timeout_s if remaining_s is None else max(0.001, remaining_s)


def _enter(principal: Principal | None, method: str) -> None:
    """Go on as this caller: logs and outgoing calls know it from here on."""
    call = current_call()
    enter_call(
        CallContext(
            request_id=call.request_id,
            client_address=call.client_address,
            method=method,
            principal=principal,
            deadline=call.deadline,
            traceparent=call.traceparent,
        )
    )


def _check_media_type(headers: Mapping[str, str]) -> None:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType
    media_type, _, parameters = headers.get("content-type", JSON).partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != JSON or charset not in ("", "utf-8"):
        raise UnsupportedMediaType


def _metadata(request: Request) -> Metadata:
    """What travels with the call: token, request id, trace, address; nothing else of the client's headers."""
    call = current_call()
    metadata = [("x-request-id", call.request_id)]
    if call.client_address:
        metadata.append((CLIENT_ADDRESS, call.client_address))
    token = request.headers.get(AUTHORIZATION)
    if token:
        metadata.append((AUTHORIZATION, token))
    traceparent = current_traceparent()
    if traceparent:
        metadata.append(("traceparent", traceparent))
    return Metadata(*metadata)


def _answer(
    endpoint: Endpoint, request: Request, variables: Mapping[str, str], document: dict[str, Any]
) -> Reply:
    policy = endpoint.policy
    headers = http_policy.success_headers(policy, document, variables)
    if policy.caching is Caching.AVAILABILITY:
        http_policy.tag_availability(policy, document, headers)
    headers["vary"] = "authorization, origin"
    if endpoint.binding.http_method == "GET" and http_policy.is_unchanged(
        request.headers, headers.get("etag")
    ):
        if policy.has_metadata:
            headers[http_policy.X_FETCHED_AT] = document.get("metadata", {}).get("fetchedAt", "")
        return Reply(304, headers=headers)
    headers["content-type"] = JSON
    return Reply(policy.success_status, orjson.dumps(document), headers)


def build_endpoint(
    binding: Binding, *, method: Method, policy: Policy, encode: Encode, invoke: Invoke
) -> Endpoint:
    """What `binding` needs to be served."""
    return Endpoint(
        binding=binding,
        method=method,
        policy=policy,
        new_request=message_factory.GetMessageClass(binding.request),
        query_fields={field.json_name: field for field in binding.query_fields},
        path_fields=[(path, _path_field(binding, path)) for path in sorted(binding.path_fields)],
        encode=encode,
        invoke=invoke,
        names=RestNames(binding.request, binding.body),
    )


def _path_field(binding: Binding, path: str) -> FieldDescriptor:
    field = field_at(binding.request, path)
    if field is None:
        raise LookupError(f"{binding.request.full_name} has no field {path}")
    return field
