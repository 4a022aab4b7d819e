"""Who calls, and whether the contract lets them: the token is verified again in every service."""

from __future__ import annotations

from google.protobuf.message import Message

from chassis.auth.principal import Principal, Role
from chassis.auth.verifier import TokenVerifier
from chassis.interceptors.chain import Call
from chassis.interceptors.methods import Method
from scheduling.errors import Forbidden, NotFound, Unauthenticated

_BEARER = "bearer "


class Auth:
    """Verifies the token, holds it against the method's option, and keeps callers in their own clinic."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    def enter(self, call: Call) -> None:
        """Set the call's principal.

        Raises Unauthenticated, Forbidden, or UnknownKey when the key set must be read again first.
        """
        method = call.method
        if method.public:
            return
        header = call.metadata.get("authorization")
        if not header and method.anonymous:
            return
        call.principal = self._verifier.verify(bearer_token(header))
        call.authorization = header
        if method.is_stream:
            call.token_life_s = self._verifier.life_s(call.principal)
        check_access(method, call.principal)

    def check(self, call: Call, request: Message) -> None:
        """Raise NotFound for a request that names another clinic than the caller's.

        Ids are spelled in either case; from here on the clinic's is in lower case.
        """
        if not call.method.has_clinic:
            return
        named: str = request.clinic_id  # type: ignore[attr-defined]
        if not named.islower():
            named = request.clinic_id = named.lower()  # type: ignore[attr-defined]
        principal = call.principal
        if principal and named != principal.clinic_id and principal.role is not Role.PLATFORM:
            raise NotFound("There is no such clinic.")

    def leave(self, call: Call) -> None:
        """Do nothing."""


def bearer_token(header: str | None) -> str:
    """The token of an `Authorization: Bearer` header. Raises Unauthenticated."""
    if not header:
        raise Unauthenticated("A bearer token is required.")
    if header[: len(_BEARER)].lower() != _BEARER:
        raise Unauthenticated("Only bearer tokens are accepted.")
    return header[len(_BEARER) :].strip()


def check_access(method: Method, principal: Principal) -> None:
    """Raise Forbidden unless the contract lets `principal` call `method`."""
    if method.roles and principal.role not in method.roles:
        raise Forbidden(f"Role {principal.role} may not call {method.name}.")
    if method.scopes and method.scopes.isdisjoint(principal.scopes):
        raise Forbidden(f"{method.name} needs one of the scopes {', '.join(sorted(method.scopes))}.")
