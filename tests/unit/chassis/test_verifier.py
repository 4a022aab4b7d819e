"""Tokens: good ones are known, and every known trick is refused."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from chassis.auth.jwks import JwksError, KeyStore, jwks_source, parse_jwks
from chassis.auth.principal import Role
from chassis.auth.signing import (
    Algorithm,
    SigningKey,
    generate_signing_key,
    load_signing_key,
    public_jwks,
    save_signing_key,
    sign_claims,
    sign_token,
)
from chassis.auth.verifier import TokenVerifier, UnknownKey
from scheduling.errors import Unauthenticated

CLINIC = "6f9c3c1e-5d60-4f0b-9a64-0b3e0f6b2a10"
NOW = 1_800_000_000
KEY = generate_signing_key("EdDSA", kid="k1")
RSA = generate_signing_key("RS256", kid="rsa")
CLAIMS: dict[str, Any] = {
    "iss": "medforall",
    "aud": "medforall",
    "sub": "user-1",
    "role": "patient",
    "clinic_id": CLINIC.upper(),
    "scopes": ["read:availability"],
    "patient_id": "patient-1",
    "iat": NOW,
    "exp": NOW + 60,
    "jti": "t1",
}


class Source:
    """A key set that a test may change, and counts its readings."""

    def __init__(self, *keys: SigningKey) -> None:
        self.document: dict[str, Any] = public_jwks(keys)
        self.reads = 0

    def __call__(self) -> bytes:
        self.reads += 1
        return json.dumps(self.document).encode()


class Now:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.s = float(NOW)

    def __call__(self) -> float:
        return self.s


def verifier(
    source: Callable[[], bytes] | None = None, now: Now | None = None, **changes: Any
) -> TokenVerifier:
    clock = now or Now()
    keys = KeyStore(source or Source(KEY, RSA), now_s=clock)
    keys.load()
    made: dict[str, Any] = {"issuer": "medforall", "audience": "medforall", "leeway_s": 0, "now_s": clock}
    return TokenVerifier(keys, **{**made, **changes})


def b64(content: bytes | dict[str, Any]) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: dict[str, Any], signature: bytes = b"x" * 64) -> str:
    return f"{b64(header)}.{b64(CLAIMS)}.{b64(signature)}"


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256", "ES256"])
def test_a_good_token_is_its_principal(algorithm: Algorithm) -> None:
    """Every pinned algorithm verifies, and the claims become the principal."""
    key = generate_signing_key(algorithm)
    principal = verifier(Source(key)).verify(sign_claims(key, CLAIMS))
    assert (principal.subject, principal.role, principal.clinic_id) == ("user-1", Role.PATIENT, CLINIC)
    assert principal.has_scope("read:availability")
    assert (principal.patient_id, principal.provider_id, principal.expires_at_s) == (
        "patient-1",
        None,
        NOW + 60,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["a", "b"]},
        {"aud": None},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": float("inf")},
        {"iat": None},
        {"iat": NOW + 5},
        {"nbf": NOW + 5},
        {"nbf": "now"},
        {"iat": NOW - 86_400 * 1_000},
        {"role": "root"},
        {"role": None},
        {"role": ["admin"]},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 200},
        {"sub": "a\nb"},
        {"clinic_id": None},
        {"clinic_id": 7},
        {"clinic_id": "clinic-1"},
        {"clinic_id": CLINIC.replace("-", "")},
        {"clinic_id": f"{CLINIC}\n"},
        {"role": "platform"},
        {"scopes": "read:availability"},
        {"scopes": [1]},
        {"scopes": ["x"] * 1_000},
        {"patient_id": {"$ne": ""}},
    ],
)
def test_bad_claims_are_refused(change: dict[str, Any]) -> None:
    """A well-signed token with a wrong claim is no token."""
    claims = {name: value for name, value in {**CLAIMS, **change}.items() if value is not None}
    with pytest.raises(Unauthenticated):
        verifier().verify(sign_claims(KEY, claims))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": "k1"},
        {"alg": "None", "kid": "k1"},
        {"alg": "HS256", "kid": "rsa"},
        {"alg": "RS256", "kid": "k1"},
        {"alg": "EdDSA", "kid": "rsa"},
        {"alg": "PS256", "kid": "rsa"},
        {"alg": ["EdDSA"], "kid": "k1"},
        {"alg": "EdDSA"},
        {"kid": "k1"},
        {"alg": "EdDSA", "kid": 7},
        {"alg": "EdDSA", "kid": "k1", "jku": "https://evil.example/jwks"},
        {"alg": "EdDSA", "kid": "k1", "x5u": "https://evil.example/cert"},
        {"alg": "EdDSA", "kid": "k1", "jwk": {"kty": "OKP"}},
        {"alg": "EdDSA", "kid": "k1", "crit": ["exp"], "exp": 1},
        {"alg": "EdDSA", "kid": "k1", "b64": False},
        {"alg": "EdDSA", "kid": "k1", "zip": "DEF"},
        {"alg": "EdDSA", "kid": "k1", "typ": "JWE"},
        {"alg": "EdDSA", "kid": "k1"},
    ],
)
def test_header_tricks_are_refused(header: dict[str, Any]) -> None:
    """Algorithms and keys come from the key set alone; a token cannot choose or bring its own."""
    with pytest.raises(Unauthenticated):
        verifier().verify(forged(header))


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1", "/dev/null", "", "k1\x00", "K1"])
def test_a_key_id_is_only_ever_looked_up(kid: str) -> None:
    """A traversal or an injection in `kid` is an unknown key, nothing more."""
    with pytest.raises((Unauthenticated, UnknownKey)):
        verifier().verify(forged({"alg": "EdDSA", "kid": kid}))


def test_a_public_key_is_no_shared_secret() -> None:
    """The HS/RS swap: a token signed with HMAC over the published RSA key is refused."""
    public = json.dumps(public_jwks([RSA])["keys"][0]).encode()
    assert isinstance(RSA.key, RSAKey)
    for secret in (public, RSA.key.as_pem(private=False)):
        head = f"{b64({'alg': 'HS256', 'kid': 'rsa'})}.{b64(CLAIMS)}"
        mac = hmac.digest(secret, head.encode(), hashlib.sha256)
        with pytest.raises(Unauthenticated):
            verifier().verify(f"{head}.{b64(mac)}")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        "x" * 100_000,
        f"{'A' * 2_000}.x.y",
        "\x00.\x00.\x00",
        "{}.{}.{}",
    ],
)
def test_malformed_tokens_are_refused(token: str) -> None:
    """Garbage of every size is UNAUTHENTICATED, never a fault."""
    with pytest.raises(Unauthenticated):
        verifier().verify(token)


def test_a_changed_token_is_refused() -> None:
    """Swapping the payload under a good signature is noticed."""
    head, _, signature = sign_claims(KEY, CLAIMS).split(".")
    with pytest.raises(Unauthenticated, match="signature"):
        verifier().verify(f"{head}.{b64({**CLAIMS, 'role': 'admin'})}.{signature}")


def test_deeply_nested_json_is_refused() -> None:
    """A header or payload nested a thousand deep is malformed, not a crash."""
    deep = b64(b'{"alg":' * 100 + b"1" + b"}" * 100)
    with pytest.raises(Unauthenticated):
        verifier().verify(f"{deep}.{deep}.x")


def test_a_verified_token_is_remembered_until_it_expires() -> None:
    """The second time costs no signature; when the time is over, so is the memory."""
    now = Now()
    checking = verifier(now=now)
    token = sign_claims(KEY, CLAIMS)
    assert checking.verify(token) is checking.verify(token)
    now.s += 61
    with pytest.raises(Unauthenticated, match="expired"):
        checking.verify(token)


def test_the_memory_is_bounded() -> None:
    """The least recently used token is forgotten first."""
    checking = verifier(cache_tokens_max=2)
    first, second, third = (sign_claims(KEY, {**CLAIMS, "jti": name}) for name in "abc")
    known = checking.verify(first)
    checking.verify(second)
    assert checking.verify(first) is known
    checking.verify(third)
    assert checking.verify(first) is known
    assert len(checking._cache._entries) == 2


def test_a_withdrawn_key_ends_its_tokens() -> None:
    """Tokens of a key that left the set are refused, remembered or not; other keys' stay remembered."""
    source, now = Source(KEY, RSA), Now()
    checking = verifier(source, now)
    withdrawn, stays = sign_claims(KEY, CLAIMS), sign_claims(RSA, CLAIMS)
    checking.verify(withdrawn)
    known = checking.verify(stays)
    source.document = public_jwks([RSA])
    checking.refresh()
    assert checking.verify(stays) is known
    with pytest.raises(UnknownKey):
        checking.verify(withdrawn)


def test_a_replaced_key_ends_the_tokens_of_the_old_one() -> None:
    """Another key under the same id does not keep what the old one signed."""
    source = Source(KEY)
    checking = verifier(source)
    token = sign_claims(KEY, CLAIMS)
    checking.verify(token)
    source.document = public_jwks([generate_signing_key("EdDSA", kid="k1")])
    checking.refresh()
    with pytest.raises(Unauthenticated):
        checking.verify(token)


def test_unknown_keys_cause_one_reading_in_thirty_seconds() -> None:
    """An unknown id asks for a refresh once, then is refused until half a minute has passed."""
    now = Now()
    checking = verifier(now=now)
    stranger = sign_claims(generate_signing_key("EdDSA", kid="new"), {**CLAIMS, "exp": NOW + 600})
    with pytest.raises(UnknownKey):
        checking.verify(stranger)
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="unknown key"):
            checking.verify(stranger)
    now.s += 31
    with pytest.raises(UnknownKey):
        checking.verify(stranger)


def test_a_failing_source_keeps_the_keys() -> None:
    """When the set cannot be read again, the present one stays, and is not asked for at once again."""
    source, now = Source(KEY), Now()
    keys = KeyStore(source, refresh_s=100, now_s=now)
    keys.load()
    now.s += 101
    assert keys.is_due()
    source.document = {"oops": 1}
    keys.refresh()
    assert keys.find("k1") is not None
    assert not keys.is_due()
    now.s += 31
    assert keys.is_due()


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s"},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "x"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "no-x"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "short"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "p"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "weak"},
        {**public_jwks([KEY])["keys"][0], "use": "enc"},
        {**public_jwks([KEY])["keys"][0], "alg": "RS256"},
        {name: value for name, value in public_jwks([KEY])["keys"][0].items() if name != "kid"},
        "text",
    ],
)
def test_unfit_keys_are_ignored(entry: Any) -> None:
    """Shared secrets, weak, foreign and incomplete keys never get into the set; alone they make it useless."""
    good = public_jwks([RSA])["keys"][0]
    assert set(parse_jwks(json.dumps({"keys": [entry, good]}).encode())) == {"rsa"}
    with pytest.raises(JwksError):
        parse_jwks(json.dumps({"keys": [entry]}).encode())


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"keys": 3}', b"\xff", b'{"keys": []}'])
def test_documents_that_are_no_key_set_are_refused(raw: bytes) -> None:
    """Whatever comes from the source, the answer is a key set or one sentence."""
    with pytest.raises(JwksError):
        parse_jwks(raw)


def test_keys_live_in_files(tmp_path: Path) -> None:
    """A key and its set are written once, privately, and read back to sign and verify."""
    private, jwks = tmp_path / "signing.json", tmp_path / "jwks.json"
    save_signing_key(KEY, private, jwks)
    assert private.stat().st_mode & 0o777 == 0o600
    assert '"d"' not in jwks.read_text()
    with pytest.raises(FileExistsError):
        save_signing_key(KEY, private, jwks)
    token = sign_token(
        load_signing_key(private), subject="u", role="admin", clinic_id=CLINIC, now_s=NOW, ttl_s=5
    )
    assert verifier(jwks_source(str(jwks))).verify(token).role is Role.ADMIN


def test_only_files_and_http_are_sources(tmp_path: Path) -> None:
    """Other schemes are refused at start; a missing file is one sentence."""
    with pytest.raises(ValueError, match="neither a file"):
        jwks_source("ftp://x/y")
    with pytest.raises(JwksError, match="cannot be read"):
        jwks_source(str(tmp_path / "absent"))()


def test_a_signing_key_does_not_show_itself() -> None:
    """The private key is not in the repr."""
    assert repr(KEY) == "SigningKey(EdDSA, kid='k1')"
