"""Makes keys and tokens.

For `medforall token`, development homes and tests; production has an identity provider.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from chassis.auth.algorithms import REGISTRIES
from chassis.auth.principal import Role

Algorithm = Literal["EdDSA", "RS256", "ES256"]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, the algorithm it signs with, and its id."""

    algorithm: Algorithm
    key: Key
    kid: str

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm}, kid={self.kid!r})"


def generate_signing_key(algorithm: Algorithm = "EdDSA", kid: str | None = None) -> SigningKey:
    """A new key; without a `kid` it gets its own thumbprint."""
    key: Key
    if algorithm == "EdDSA":
        key = OKPKey.generate_key("Ed25519", private=True)
    elif algorithm == "ES256":
        key = ECKey.generate_key("P-256", private=True)
    else:
        key = RSAKey.generate_key(2048, private=True)
    return SigningKey(algorithm, key, kid or key.thumbprint())


def public_jwks(keys: Collection[SigningKey]) -> dict[str, Any]:
    """The JSON Web Key Set that verifies what `keys` sign."""
    return {"keys": [_with_head(signing, private=False) for signing in keys]}


def save_signing_key(signing: SigningKey, private_file: Path, jwks_file: Path) -> None:
    """Write the private key (mode 600, never overwriting one) and the key set. Raises FileExistsError."""
    document = json.dumps(_with_head(signing, private=True))
    descriptor = os.open(private_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(document + "\n")
    jwks_file.write_text(json.dumps(public_jwks([signing]), indent=1) + "\n")


def load_signing_key(private_file: Path) -> SigningKey:
    """Read a key that `save_signing_key` wrote. Raises OSError or ValueError."""
    entry = json.loads(private_file.read_text())
    classes: Mapping[str, Any] = {"OKP": OKPKey, "EC": ECKey, "RSA": RSAKey}
    try:
        return SigningKey(entry["alg"], classes[entry["kty"]].import_key(entry), entry["kid"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{private_file} holds no signing key") from error


def sign_token(
    signing: SigningKey,
    *,
    subject: str,
    role: Role | str,
    now_s: int,
    ttl_s: int,
    clinic_id: str = "",
    scopes: Collection[str] = (),
    patient_id: str | None = None,
    provider_id: str | None = None,
    issuer: str = "medforall",
    audience: str = "medforall",
) -> str:
    """A token for `subject` that is valid for `ttl_s` from `now_s` (Unix seconds)."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "role": str(role),
        "scopes": sorted(scopes),
        "iat": now_s,
        "exp": now_s + ttl_s,
        "jti": secrets.token_hex(16),
    }
    optional = {"clinic_id": clinic_id, "patient_id": patient_id, "provider_id": provider_id}
    claims |= {name: value for name, value in optional.items() if value}
    return sign_claims(signing, claims)


def sign_claims(signing: SigningKey, claims: Mapping[str, Any]) -> str:
    """A token with exactly these claims."""
    header = {"alg": signing.algorithm, "kid": signing.kid, "typ": "JWT"}
    return jws.serialize_compact(
        header, json.dumps(dict(claims)), signing.key, registry=REGISTRIES[signing.algorithm]
    )


def _with_head(signing: SigningKey, *, private: bool) -> dict[str, Any]:
    members: dict[str, Any] = dict(signing.key.as_dict(private=private))
    return {**members, "kid": signing.kid, "alg": signing.algorithm, "use": "sig"}
