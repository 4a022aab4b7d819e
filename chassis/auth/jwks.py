"""The key set that signs tokens: read from a file or URL, cached, rotated; never from a token."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from chassis.auth.algorithms import canonical
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)

_BYTES_MAX = 262_144
_KEYS_MAX = 100
_FETCH_TIMEOUT_S = 3.0
_REFETCH_PAUSE_S = 30.0

# Which kinds of key may verify which algorithm. A symmetric key is never taken into the set.
_CURVES: Mapping[str, str] = {"Ed25519": "EdDSA", "P-256": "ES256"}
_RSA_BITS_MIN = 2_048

_IMPORTERS: Mapping[str, Callable[[Any], Key]] = {
    "OKP": OKPKey.import_key,
    "EC": ECKey.import_key,
    "RSA": RSAKey.import_key,
}

Source = Callable[[], bytes]


class JwksError(Exception):
    """The key set cannot be read or holds no usable key; the message is one sentence."""


class KeyStore:
    """The present keys by id.

    `refresh` does I/O and belongs on a thread; everything else is memory. The set is read again when it is
    older than `refresh_s`, and for an unknown id at most once in 30 s, so that bad tokens cannot cause a
    flood of reads.
    """

    def __init__(
        self, source: Source, *, refresh_s: float = 300.0, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._refresh_s = refresh_s
        self._now_s = now_s
        self._keys: dict[str, tuple[str, Key]] = {}
        self._read_at_s: float | None = None
        self._unknown_at_s: float | None = None
        self._lock = threading.Lock()

    def find(self, kid: str) -> tuple[str, Key] | None:
        """The (algorithm, key) of an id, or None."""
        return self._keys.get(kid)

    def is_due(self) -> bool:
        """Whether the set is old enough to be read again."""
        return self._read_at_s is None or self._now_s() - self._read_at_s >= self._refresh_s

    def may_refetch(self) -> bool:
        """Whether an unknown id is a reason to read the set now; says yes at most once in 30 s."""
        with self._lock:
            now_s = self._now_s()
            if self._unknown_at_s is not None and now_s - self._unknown_at_s < _REFETCH_PAUSE_S:
                return False
            self._unknown_at_s = now_s
            return True

    def load(self) -> None:
        """Read the set. Raises JwksError."""
        keys = parse_jwks(self._source())
        with self._lock:
            # A key that is still the same stays the same object: tokens verified by it stay verified.
            self._keys = {kid: _same(self._keys.get(kid), found) for kid, found in keys.items()}
            self._read_at_s = self._now_s()

    def refresh(self) -> None:
        """Read the set again, keeping the present one when that fails."""
        try:
            self.load()
        except JwksError as error:
            with self._lock:
                # Not due again at once: a source that is away must not be asked on every call.
                self._read_at_s = self._now_s() - self._refresh_s + min(self._refresh_s, _REFETCH_PAUSE_S)
            _log.warning("jwks.refresh_failed", reason=str(error))
            if not self._keys:
                raise Unavailable("The keys that verify tokens cannot be read.") from error


def _same(old: tuple[str, Key] | None, new: tuple[str, Key]) -> tuple[str, Key]:
    return old if old is not None and old[1].as_dict(private=False) == new[1].as_dict(private=False) else new


def parse_jwks(raw: bytes) -> dict[str, tuple[str, Key]]:
    """The usable public keys of a JSON Web Key Set by id. Raises JwksError when there is none."""
    try:
        document = json.loads(raw)
        entries = document["keys"]
    except (ValueError, KeyError, TypeError):
        raise JwksError("The key set is not a JSON document with keys.") from None
    if not isinstance(entries, list) or len(entries) > _KEYS_MAX:
        raise JwksError(f"The key set must list at most {_KEYS_MAX} keys.")
    keys = [found for entry in entries if isinstance(entry, dict) and (found := _usable(entry)) is not None]
    if not keys:
        raise JwksError("The key set holds no usable key (Ed25519, P-256 or RSA of 2048 bits and more).")
    return {kid: (algorithm, key) for kid, algorithm, key in keys}


def _usable(entry: Mapping[str, Any]) -> tuple[str, str, Key] | None:
    """The (id, algorithm, public key) of a set's entry, or None when it is not one of ours to use."""
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= 128 or entry.get("use", "sig") != "sig":
        return None
    algorithm = _algorithm(entry)
    if algorithm is None or canonical(str(entry.get("alg", algorithm))) != algorithm:
        return None
    # Only the public members: a private key that somebody published is not used, nor an `oct` one.
    public = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e", "kid") if name in entry}
    try:
        key = _IMPORTERS[str(entry["kty"])](public)
        is_weak = isinstance(key, RSAKey) and key.public_key.key_size < _RSA_BITS_MIN
    except (JoseError, ValueError, KeyError, TypeError):
        _log.warning("jwks.key_ignored", kid=kid)
        return None
    return None if is_weak else (kid, algorithm, key)


def _algorithm(entry: Mapping[str, Any]) -> str | None:
    if entry.get("kty") == "RSA":
        return "RS256"
    if entry.get("kty") in ("OKP", "EC"):
        return _CURVES.get(str(entry.get("crv")))
    return None


def jwks_source(location: str) -> Source:
    """A reader of the key set at `location`, a file path or an http(s) URL.

    Raises ValueError for anything else.
    """
    scheme = urlsplit(location).scheme
    if scheme in ("http", "https"):
        return lambda: _fetch(location)
    if scheme in ("", "file"):
        path = Path(urlsplit(location).path if scheme else location)
        return lambda: _read(path)
    raise ValueError(f"{location} is neither a file nor an http(s) URL")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(_BYTES_MAX + 1))
    except OSError as error:
        raise JwksError(f"The key set {path} cannot be read: {error.strerror}.") from error


def _fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - scheme is checked
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_FETCH_TIMEOUT_S) as reply:
            return _bounded(reply.read(_BYTES_MAX + 1))
    except (OSError, ValueError) as error:
        raise JwksError(
            f"The key set at {urlsplit(url).netloc} cannot be fetched: {type(error).__name__}."
        ) from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Keys come from the configured place or not at all."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _bounded(raw: bytes) -> bytes:
    if len(raw) > _BYTES_MAX:
        raise JwksError(f"The key set is larger than {_BYTES_MAX} bytes.")
    return raw
