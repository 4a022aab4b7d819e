"""Tokens that attackers make, and what callers without a good one get and see."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from medforall.availability.v1 import availability_pb2
from medforall.directory.v1 import directory_pb2
from medforall.type.v1 import scheduling_pb2

from chassis.auth.principal import Role
from chassis.auth.signing import SigningKey, generate_signing_key, sign_claims
from tests.integration.gateway.conftest import (
    APPOINTMENT,
    CLINIC,
    LIST,
    LOCATION,
    PATH,
    PATIENT,
    PROVIDER,
    SCOPES,
    SERVICE,
    Services,
)


def encoded(value: object) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token."""
    now_s = int(time.time())
    good = {
        "iss": "medforall",
        "aud": "medforall",
        "iat": now_s,
        "exp": now_s + 600,
        "sub": "u",
        "role": "admin",
        "scopes": SCOPES,
        "clinic_id": CLINIC,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def _forged(header: dict[str, Any], key: SigningKey) -> str:
    """A token whose header says something else than what signed it."""
    body, signature = sign_claims(key, claims()).split(".")[1:]
    return f"{encoded(header)}.{body}.{signature}"


TOKENS: dict[str, Callable[[SigningKey], str]] = {
    "alg none": lambda _: f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims())}.",
    "HS256 with the public key": lambda key: _forged({"alg": "HS256", "kid": key.kid}, key),
    "another key's signature": lambda key: sign_claims(generate_signing_key(kid=key.kid), claims()),
    "unknown kid": lambda _: sign_claims(generate_signing_key(), claims()),
    "kid that is a path": lambda key: _forged({"alg": "EdDSA", "kid": "../../../../etc/passwd"}, key),
    "jku": lambda key: _forged({"alg": "EdDSA", "kid": key.kid, "jku": "http://127.0.0.1:1/keys"}, key),
    "jwk": lambda key: _forged({"alg": "EdDSA", "kid": key.kid, "jwk": key.key.as_dict(private=False)}, key),
    "crit": lambda key: _forged({"alg": "EdDSA", "kid": key.kid, "crit": ["exp"]}, key),
    "other audience": lambda key: sign_claims(key, claims(aud="somebody")),
    "other issuer": lambda key: sign_claims(key, claims(iss="somebody")),
    "expired": lambda key: sign_claims(key, claims(iat=1_700_000_000, exp=1_700_000_600)),
    "not yet": lambda key: sign_claims(key, claims(nbf=int(time.time()) + 3_600)),
    "no expiry": lambda key: sign_claims(key, claims(exp=None)),
    "unknown role": lambda key: sign_claims(key, claims(role="root")),
    "no clinic": lambda key: sign_claims(key, claims(clinic_id=None)),
    "half a token": lambda key: sign_claims(key, claims()).rpartition(".")[0],
    "not a token": lambda _: "x" * 200,
    "long": lambda key: sign_claims(key, claims(padding="x" * 20_000)),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_bad_tokens_are_refused(
    name: str, client: httpx.AsyncClient, services: Services, signing_key: SigningKey
) -> None:
    """A token that is wrong in any way is 401, the service is never asked, and the token is not told back."""
    token = TOKENS[name](signing_key)
    answer = await client.get(PATH, headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["error"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert token not in answer.text
    assert services.calls == []


async def test_a_token_as_long_as_the_headers_may_be(client: httpx.AsyncClient) -> None:
    """A token of 100 KB is refused as too large a head, and the connection is closed."""
    answer = await client.get(PATH, headers={"authorization": f"Bearer {'x' * 100_000}"})
    assert (answer.status_code, answer.json()["error"]) == (431, "HEADERS_TOO_LARGE")


@pytest.mark.parametrize(
    ("role", "scopes", "status"),
    [
        (Role.PLATFORM, SCOPES, 403),
        (Role.FRONT_DESK, ["read:availability"], 403),
        (Role.FRONT_DESK, SCOPES, 501),
        (Role.PATIENT, SCOPES, 501),
    ],
)
async def test_role_and_scope_come_from_the_contract(
    client: httpx.AsyncClient, token: Callable[..., str], role: Role, scopes: list[str], status: int
) -> None:
    """A role or scope that the contract does not name is 403 at the gateway already."""
    clinic_id = "" if role is Role.PLATFORM else CLINIC
    made = token(role, clinic_id, scopes=scopes)
    answer = await client.get(PATH, headers={"authorization": f"Bearer {made}"})
    assert answer.status_code == status


async def test_headers_given_twice(client: httpx.AsyncClient, token: Callable[..., str]) -> None:
    """Two Authorization headers are refused: nobody could say which one counts."""
    del client.headers["authorization"]
    pair = [("authorization", f"Bearer {token()}"), ("authorization", "Bearer other")]
    assert (await client.get(PATH, headers=pair)).status_code == 400


async def test_nothing_secret_is_logged(
    client: httpx.AsyncClient, token: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a token nor anything from a query, a path or a body is in what the process writes."""
    made = token()
    canaries = ["canary-name", "+1-202-555-0175", "1961-07-23"]
    headers = {"authorization": f"Bearer {made}"}
    await client.get(
        f"/v1/clinics/{CLINIC}/patients",
        params={"namePrefix": canaries[0], "phone": canaries[1], "dob": canaries[2]},
        headers=headers,
    )
    await client.post(LIST, json={"notes": canaries[0], "patientId": canaries[1]}, headers=headers)
    await client.get(f"/v1/{canaries[0]}/{canaries[2]}", headers=headers)
    await client.get(f"{LIST}/{canaries[0]}", headers=headers)
    written = "".join(capsys.readouterr())
    assert "http.served" in written
    for secret in (made, made.split(".")[1], *canaries):
        assert secret not in written


async def test_without_a_token(client: httpx.AsyncClient, services: Services) -> None:
    """Search is closed to callers without a token until the clinic opens it; patients, holds and rooms never open."""
    del client.headers["authorization"]
    path = f"/v1/clinics/{CLINIC}/availability"
    search = {
        "serviceId": SERVICE,
        "locationId": LOCATION,
        "start": "2026-02-20T00:00",
        "end": "2026-02-21T00:00",
    }
    assert (await client.get(path, params=search)).status_code == 404
    slot = scheduling_pb2.Slot(start="2026-02-20T09:00:00-05:00")
    slot.room_options.add(name="Room of Dr. Secret")
    services.answers("SearchSlots", availability_pb2.SearchSlotsResponse(slots=[slot]))
    other = path.replace(CLINIC, PROVIDER)
    services.answers("GetPublicClinic", directory_pb2.GetPublicClinicResponse(name="Open"))
    answer = await client.get(other, params=search)
    assert answer.status_code == 200, answer.text
    assert "Secret" not in answer.text
    for private in ({"patientId": PATIENT}, {"holdToken": "x" * 20}, {"ignoreAppointmentId": APPOINTMENT}):
        assert (await client.get(other, params=search | private)).status_code == 401
    assert (await client.get(LIST)).status_code == 401
    public = await client.get(f"/v1/clinics/{PROVIDER}/public")
    assert (public.status_code, public.headers["cache-control"]) == (
        200,
        "public, max-age=1800, s-maxage=3600",
    )
