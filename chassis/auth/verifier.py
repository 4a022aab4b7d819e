"""Verification of tokens: signature, algorithm, issuer, audience, times and the shape of our claims."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from chassis.auth.algorithms import ACCEPTED, REGISTRIES, canonical
from chassis.auth.jwks import KeyStore, jwks_source
from chassis.auth.principal import Principal, Role
from chassis.config import ConfigError
from chassis.settings import AuthSettings
from scheduling.errors import TokenExpired, Unauthenticated
from scheduling.ids import is_id

_TOKEN_CHARS_MAX = 8_192
_HEADER_CHARS_MAX = 1_024
_HEADER_KEYS = frozenset({"alg", "kid", "typ"})
_TYPES = frozenset({"JWT", "jwt", "at+jwt"})
_SCOPES_MAX = 100
_ID_CHARS_MAX = 128
_LIFETIME_MAX_S = 400 * 86_400


class UnknownKey(Exception):
    """The token names a key that is not in the set, and the set may be read again.

    Refresh, then verify again.
    """


class TokenVerifier:
    """Turns a bearer token into a principal; remembers verified tokens until they expire.

    `verify` does no I/O. It raises Unauthenticated, always with a sentence that says nothing of the token's
    content, or UnknownKey when the caller should `refresh` (on a thread) and try once more.
    """

    def __init__(
        self,
        keys: KeyStore,
        *,
        issuer: str,
        audience: str,
        leeway_s: int = 30,
        cache_tokens_max: int = 10_000,
        is_revoked: Callable[[Principal], bool] = lambda _: False,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._is_revoked = is_revoked
        self._now_s = now_s
        self._cache = _Cache(cache_tokens_max)

    def verify(self, token: str) -> Principal:
        """The principal of a valid token that is not revoked."""
        principal = self._verified(token)
        if self._is_revoked(principal):
            raise Unauthenticated("The token was revoked.")
        return principal

    def _verified(self, token: str) -> Principal:
        now_s = self._now_s()
        known = self._cache.get(token)
        if known is not None:
            principal, kid, key = known
            if principal.expires_at_s + self._leeway_s > now_s and self._keys.find(kid) is key:
                return principal
            self._cache.drop(token)
        return self._verify_new(token, now_s)

    def life_s(self, principal: Principal) -> float:
        """Seconds for which `principal` may still be served, leeway included."""
        return principal.expires_at_s + self._leeway_s - self._now_s()

    def refresh(self) -> None:
        """Read the key set again; blocks. Raises Unavailable when there are no keys at all."""
        self._keys.refresh()

    def is_due(self) -> bool:
        """Whether the key set should be read again in the background."""
        return self._keys.is_due()

    def _verify_new(self, token: str, now_s: float) -> Principal:
        header = _header_of(token)
        kid = header["kid"]
        found = self._keys.find(kid)
        if found is None:
            if self._keys.may_refetch():
                raise UnknownKey
            raise Unauthenticated("The token is signed by an unknown key.")
        algorithm, key = found
        if canonical(header["alg"]) != algorithm:
            raise Unauthenticated("The token's algorithm is not the one of its key.")
        claims = _verified_claims(token, header["alg"], key)
        self._check_claims(claims, now_s)
        principal = _principal_of(claims)
        self._cache.put(token, (principal, kid, found))
        return principal

    def _check_claims(self, claims: Mapping[str, Any], now_s: float) -> None:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._issuer:
            raise Unauthenticated("The token is of another issuer.")
        if self._audience not in audiences:
            raise Unauthenticated("The token is for another audience.")
        expires_at_s, issued_at_s = _time_of(claims, "exp"), _time_of(claims, "iat")
        not_before_s = _time_of(claims, "nbf") if "nbf" in claims else issued_at_s
        if expires_at_s + self._leeway_s <= now_s:
            raise TokenExpired("The token has expired.")
        if not_before_s - self._leeway_s > now_s or issued_at_s - self._leeway_s > now_s:
            raise Unauthenticated("The token is not valid yet.")
        if not 0 < expires_at_s - issued_at_s <= _LIFETIME_MAX_S:
            raise Unauthenticated("The token's lifetime is not acceptable.")


def build_verifier(
    settings: AuthSettings,
    is_revoked: Callable[[Principal], bool] = lambda _: False,
    now_s: Callable[[], float] = time.time,
) -> TokenVerifier:
    """The verifier of a process; `is_revoked` answers from memory, for every call.

    Raises ConfigError for a location that cannot hold keys; reads nothing yet.
    """
    try:
        source = jwks_source(settings.jwks)
    except ValueError as error:
        raise ConfigError(f"MEDFORALL_JWKS is malformed: {error}.") from error
    return TokenVerifier(
        KeyStore(source, refresh_s=settings.refresh_s),
        issuer=settings.issuer,
        audience=settings.audience,
        leeway_s=settings.leeway_s,
        cache_tokens_max=settings.cache_tokens_max,
        is_revoked=is_revoked,
        now_s=now_s,
    )


def _header_of(token: str) -> dict[str, str]:
    """The protected header, read strictly: only `alg`, `kid` and `typ` may be in it."""
    if len(token) > _TOKEN_CHARS_MAX:
        raise Unauthenticated("The token is too long.")
    head, dot, _ = token.partition(".")
    if not dot or token.count(".") != 2 or len(head) > _HEADER_CHARS_MAX:
        raise Unauthenticated("The token is malformed.")
    header = _json_of(head)
    # `jku`, `x5u`, `jwk`, `crit` and whatever else could change where keys come from is refused by name.
    if (
        not isinstance(header, dict)
        or not header.keys() <= _HEADER_KEYS
        or not all(isinstance(value, str) for value in header.values())
        or "kid" not in header
    ):
        raise Unauthenticated("The token's header is not acceptable.")
    if header.get("alg") not in ACCEPTED or header.get("typ", "JWT") not in _TYPES:
        raise Unauthenticated("The token's algorithm or type is not acceptable.")
    return header


def _json_of(part: str) -> Any:
    try:
        return json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise Unauthenticated("The token is malformed.") from None


def _verified_claims(token: str, algorithm: str, key: Key) -> dict[str, Any]:
    try:
        payload = jws.deserialize_compact(token, key, registry=REGISTRIES[algorithm]).payload
        claims = json.loads(payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise Unauthenticated("The token's signature does not verify.") from None
    if not isinstance(claims, dict):
        raise Unauthenticated("The token's claims are malformed.")
    return claims


def _time_of(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise Unauthenticated(f"The token's {name} is missing or malformed.")
    return float(value)


def _principal_of(claims: Mapping[str, Any]) -> Principal:
    try:
        role = Role(claims.get("role"))  # type: ignore[arg-type]
    except ValueError:
        raise Unauthenticated("The token's role is unknown.") from None
    clinic_id = _clinic_of(claims)
    subject = _id_of(claims, "sub")
    if subject is None or bool(clinic_id) == (role is Role.PLATFORM):
        raise Unauthenticated("The token does not say who calls, or for which clinic.")
    return Principal(
        subject=subject,
        role=role,
        clinic_id=clinic_id,
        scopes=_scopes_of(claims.get("scopes", [])),
        patient_id=_id_of(claims, "patient_id"),
        provider_id=_id_of(claims, "provider_id"),
        token_id=_id_of(claims, "jti"),
        expires_at_s=int(claims["exp"]),
    )


def _clinic_of(claims: Mapping[str, Any]) -> str:
    """The clinic's id as every other part writes it, or nothing: keys and contracts are made of it."""
    value = _id_of(claims, "clinic_id")
    if value is None:
        return ""
    if not is_id(value):
        raise Unauthenticated("The token's clinic_id is malformed.")
    return value.lower()


def _id_of(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _ID_CHARS_MAX or not value.isprintable():
        raise Unauthenticated(f"The token's {name} is malformed.")
    return value


def _scopes_of(value: object) -> frozenset[str]:
    if (
        not isinstance(value, list)
        or len(value) > _SCOPES_MAX
        or not all(isinstance(scope, str) for scope in value)
    ):
        raise Unauthenticated("The token's scopes are malformed.")
    return frozenset(value)


_Entry = tuple[Principal, str, tuple[str, Key]]


class _Cache:
    """The most recently used verified tokens, bounded; safe between threads."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = Lock()

    def get(self, token: str) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(token)
            if entry is not None:
                self._entries.move_to_end(token)
            return entry

    def put(self, token: str, entry: _Entry) -> None:
        if self._size_max == 0:
            return
        with self._lock:
            self._entries[token] = entry
            self._entries.move_to_end(token)
            while len(self._entries) > self._size_max:
                self._entries.popitem(last=False)

    def drop(self, token: str) -> None:
        with self._lock:
            self._entries.pop(token, None)
