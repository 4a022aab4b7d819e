"""What attackers send over HTTP and in tokens, and what they get."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from medforall.availability.v1 import availability_pb2
from medforall.booking.v1 import booking_pb2
from medforall.directory.v1 import directory_pb2
from medforall.type.v1 import scheduling_pb2

from chassis.auth.principal import Role
from chassis.auth.signing import SigningKey, generate_signing_key, sign_claims
from tests.integration.gateway.conftest import (
    APPOINTMENT,
    CLINIC,
    LOCATION,
    PATIENT,
    PROVIDER,
    SCOPES,
    SERVICE,
    Services,
    StartGateway,
)

PATH = f"/v1/clinics/{CLINIC}/appointments/{APPOINTMENT}"
LIST = f"/v1/clinics/{CLINIC}/appointments"


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


@pytest.fixture
async def address(client: httpx.AsyncClient) -> tuple[str, int]:
    """Host and port of the gateway, for what httpx would not send."""
    return "127.0.0.1", client.base_url.port or 0


async def raw(address: tuple[str, int], data: bytes, *, until_closed: bool = True) -> bytes:
    """Send bytes as they are; what came back until the gateway closed the connection."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return await asyncio.wait_for(reader.read() if until_closed else reader.read(65_536), 10)
    finally:
        writer.close()


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /v1/x HTTP/1.1\r\nHost: x\r\n"
SMUGGLING = {
    "content length and chunks": _POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and content length": _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\n",
    "signed length": b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
    "chunked, spelt oddly": b"POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "folded header": b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
    "space before the colon": b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\n",
    "bare line feed": b"GET /v1/x HTTP/1.1\nHost: x\n\n",
    "NUL in a header": b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n",
    "bad chunk size": b"POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_smuggling(name: str, address: tuple[str, int]) -> None:
    """What two servers could read differently is 400 and closed: the request behind it is never answered."""
    answer = await raw(address, SMUGGLING[name] + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"error":"INVALID_ARGUMENT"' in answer


async def test_no_upgrade_to_http2(address: tuple[str, int]) -> None:
    """An h2c upgrade is not taken: the request is answered as HTTP/1.1."""
    head = (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    )
    answer = await raw(address, head, until_closed=False)
    assert not answer.startswith(b"HTTP/1.1 101")


async def test_too_many_headers(address: tuple[str, int]) -> None:
    """More than a hundred headers are 431, and closed."""
    head = (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"X-%d: y\r\n" % i for i in range(10_000))
        + b"\r\n"
    )
    assert (await raw(address, head)).startswith(b"HTTP/1.1 431 ")


async def test_headers_do_not_reach_the_service(client: httpx.AsyncClient, services: Services) -> None:
    """Neither unknown headers nor a request id with odd characters become metadata of the call."""
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse())
    await client.get(
        PATH, headers={"X-Request-Id": "abc def;\tetc-passwd", "grpc-timeout": "1n", "x-clinic": "y"}
    )
    (call,) = services.calls
    assert call.request_id != "abc def;\tetc-passwd"
    assert len(call.request_id) == 36


async def test_a_body_that_is_too_large(client: httpx.AsyncClient, services: Services) -> None:
    """Five megabytes are 413, announced or not, and the service is not asked."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 65_536

    for content in (b" " * 5_242_880, chunks()):
        with contextlib.suppress(httpx.WriteError, httpx.ReadError):
            answer = await client.post(LIST, content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["error"]) == (413, "PAYLOAD_TOO_LARGE")
    assert services.calls == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'"text"', {}, 400),
        (b"\xff\xfe{}", {}, 400),
        (b'{"notes": "\\ud800"}', {}, 400),
        (b'{"notes": "a\\u0000b"}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, {}, 400),
        (b'{"patientId": {"$ne": null}}', {}, 400),
        (b'{"version": 1e400}', {}, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {"content-type": "application/json; charset=utf-16"}, 415),
        (b"\x1f\x8b\x08", {"content-encoding": "gzip"}, 415),
    ],
)
async def test_odd_bodies(
    client: httpx.AsyncClient, services: Services, content: bytes, headers: dict[str, str], status: int
) -> None:
    """Bodies that are not what the contract says are refused by the gateway: never 500, never at the service."""
    answer = await client.post(LIST, content=content, headers={"content-type": "application/json"} | headers)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "message", "details", "requestId"}
    assert services.calls == []


async def test_deep_json_where_any_json_is_allowed(
    client: httpx.AsyncClient, token: Callable[..., str]
) -> None:
    """A structure nested deeper than twenty is refused, where the contract takes any structure at all."""
    payload: Any = 1
    for _ in range(500):
        payload = {"a": payload}
    answer = await client.post(
        f"/v1/clinics/{CLINIC}/serviceRules",
        json={"ruleType": "x", "rulePayload": payload},
        headers={"authorization": f"Bearer {token(Role.ADMIN)}"},
    )
    assert answer.status_code == 400
    assert answer.json()["details"]["violations"][0]["field"] == "rulePayload"


@pytest.mark.parametrize(
    "query",
    [
        "?limit=1&limit=2",
        "?limit=9999999999999999999999",
        "?limit=1.5",
        "?limit=%00",
        "?status=%F0%9F%92%A9",
        "?status=scheduled%27%20OR%201=1--",
        "?" + "&".join(f"a{i}=1" for i in range(300)),
        "?patientId=%ff%fe",
        "?token=eyJhbGciOiJub25lIn0.e30.",
    ],
)
async def test_odd_queries(client: httpx.AsyncClient, services: Services, query: str) -> None:
    """Parameters that are not what the contract says are refused by name: never 500, never at the service."""
    answer = await client.get(LIST + query)
    assert answer.status_code == 400, answer.text
    assert services.calls == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/clinics/..%2f..%2fadmin/appointments",
        f"//v1/clinics/{CLINIC}",
        "/v1/clinics//appointments",
        f"{LIST}/a/b/c",
    ],
)
async def test_odd_addresses(client: httpx.AsyncClient, services: Services, path: str) -> None:
    """An encoded slash splits nothing, and what matches no route is 404."""
    assert (await client.get(path)).status_code == 404
    assert services.calls == []


async def test_a_slow_head_is_cut(start_gateway: StartGateway) -> None:
    """A client that drips its headers loses the connection after the configured time; others are served."""
    client = await start_gateway(MEDFORALL_HTTP_HEADER_TIMEOUT_MS="300")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port or 0)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert (await client.get("/healthz")).status_code == 200
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_silence_is_cut(start_gateway: StartGateway) -> None:
    """A connection that says nothing at all is closed as well."""
    client = await start_gateway(MEDFORALL_HTTP_HEADER_TIMEOUT_MS="300")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port or 0)
    await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_a_slow_body_is_cut(start_gateway: StartGateway, token: Callable[..., str]) -> None:
    """A body that does not arrive in time is 408 and closes the connection."""
    client = await start_gateway(MEDFORALL_HTTP_BODY_TIMEOUT_MS="300")
    head = (
        f"POST {LIST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token()}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    answer = await raw(("127.0.0.1", client.base_url.port or 0), head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_full_instance_says_so(start_gateway: StartGateway, services: Services) -> None:
    """Beyond its places an instance answers 503 with Retry-After at once; those inside are served."""
    gate = asyncio.Event()
    entered = asyncio.Semaphore(0)

    async def wait(_: Any) -> booking_pb2.GetAppointmentResponse:
        entered.release()
        await gate.wait()
        return booking_pb2.GetAppointmentResponse()

    services.handlers["GetAppointment"] = wait
    client = await start_gateway(MEDFORALL_HTTP_IN_FLIGHT_MAX="3")
    inside = [asyncio.create_task(client.get(PATH)) for _ in range(3)]
    for _ in inside:
        await asyncio.wait_for(entered.acquire(), 5)
    refused = await client.get(PATH)
    assert (refused.status_code, refused.json()["error"], refused.headers["retry-after"]) == (
        503,
        "OVERLOADED",
        "1",
    )
    gate.set()
    assert [(await task).status_code for task in inside] == [200, 200, 200]


async def test_the_deadline_holds(start_gateway: StartGateway, services: Services) -> None:
    """A call that takes longer than the deadline is 504, and the service saw that deadline."""

    async def wait(_: Any) -> booking_pb2.GetAppointmentResponse:
        await asyncio.Event().wait()
        raise AssertionError

    services.handlers["GetAppointment"] = wait
    client = await start_gateway(MEDFORALL_HTTP_DEADLINE_MS="300")
    answer = await client.get(PATH)
    assert (answer.status_code, answer.json()["error"]) == (504, "DEADLINE_EXCEEDED")


async def test_a_service_that_is_away(start_gateway: StartGateway) -> None:
    """A service that cannot be reached is 503 with Retry-After, and no address of ours is told."""
    client = await start_gateway(MEDFORALL_BOOKING_TARGET="127.0.0.1:1")
    answer = await client.get(PATH)
    assert (answer.status_code, answer.json()["error"]) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"
    assert "127.0.0.1" not in answer.text


async def test_cross_origin(start_gateway: StartGateway) -> None:
    """Pages of a listed origin may call; pages of others get no permission, and never with credentials."""
    client = await start_gateway(MEDFORALL_CORS_ORIGINS="https://app.example.org")
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    good = await client.options(LIST, headers={"Origin": "https://app.example.org", **asked})
    assert good.status_code == 204
    assert good.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "POST" in good.headers["access-control-allow-methods"]
    for origin in ("https://evil.example.org", "null", "https://app.example.org.evil.example"):
        bad = await client.options(LIST, headers={"Origin": origin, **asked})
        assert "access-control-allow-origin" not in bad.headers
        assert (
            "access-control-allow-origin" not in (await client.get(PATH, headers={"Origin": origin})).headers
        )
    assert "access-control-allow-credentials" not in good.headers


async def test_security_headers(client: httpx.AsyncClient) -> None:
    """Every answer forbids sniffing, framing and running; no server name is told."""
    for path in ("/healthz", "/docs", "/v1/nothing", PATH):
        answer = await client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


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
