"""What attackers do to connections and HTTP itself, and the bounds that hold: smuggling, slowness, crowds, origins."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from medforall.booking.v1 import booking_pb2
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.gateway.conftest import (
    LIST,
    PATH,
    Services,
    StartGateway,
)
from tests.support.waiting import wait_until_async

NOWHERE = "redis://127.0.0.1:1/0"


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


UNFINISHED = {
    "no token": (f"POST {LIST}", "", 401),
    "unknown address": ("POST /v1/nothing", "", 404),
    "other method": (f"PUT {LIST}", "", 405),
    "too many": (f"POST {LIST}", "Authorization: Bearer x\r\n", 429),
}


@pytest.mark.parametrize("name", UNFINISHED)
async def test_an_answered_request_ends_in_time(name: str, start_gateway: StartGateway) -> None:
    """A request that is answered before its body is there loses its connection when the body does not come."""
    line, more, status = UNFINISHED[name]
    used_up = {"MEDFORALL_RATE_ANONYMOUS_READ": "1/1"} if status == 429 else {}
    client = await start_gateway(
        MEDFORALL_HTTP_BODY_TIMEOUT_MS="300",
        MEDFORALL_RATE_LIMIT="on",
        MEDFORALL_REDIS_URL=NOWHERE,
        **used_up,
    )
    port = client.base_url.port or 0
    if used_up:
        await client.post(LIST, headers={"authorization": "Bearer x"})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: 100\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    writer.write(b"{")
    await asyncio.wait_for(reader.read(), 10)
    writer.close()


async def test_an_answered_request_may_finish(start_gateway: StartGateway) -> None:
    """A body that comes after its refusal is read away, and the connection serves the next request."""
    client = await start_gateway(MEDFORALL_HTTP_BODY_TIMEOUT_MS="5000")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port or 0)
    writer.write(f"POST {LIST} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    writer.write(b"0123456789GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_empty_lines_keep_no_connection(start_gateway: StartGateway) -> None:
    """What is no request yet does not keep an idle connection open."""
    client = await start_gateway(MEDFORALL_HTTP_KEEP_ALIVE_MS="1000")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port or 0)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
    writer.write(b"\r\n")
    await asyncio.wait_for(reader.read(), 10)
    writer.close()


HOSTS = {"none": b"", "two": b"Host: x\r\nHost: y\r\n"}


@pytest.mark.parametrize("name", HOSTS)
async def test_a_request_has_one_host(name: str, address: tuple[str, int]) -> None:
    """HTTP/1.1 without a Host, or with two, is 400 and closed."""
    answer = await raw(address, b"GET /healthz HTTP/1.1\r\n" + HOSTS[name] + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer


async def test_the_parser_s_refusals_look_like_all_others(address: tuple[str, int]) -> None:
    """What is refused before there is a request has a request id, in body and header, and the security headers."""
    head, _, body = (await raw(address, b"GET / HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")
    refusal = json.loads(body)
    assert set(refusal) == {"error", "message", "details", "requestId"}
    assert b"x-request-id: " + refusal["requestId"].encode() in head
    assert len(refusal["requestId"]) == 36
    assert b"x-content-type-options: nosniff" in head
    assert b"cache-control: no-store" in head


async def test_no_redirect_names_the_client_s_host(client: httpx.AsyncClient) -> None:
    """A page's address with a slash too many is 404: nothing is redirected to the host that a client names."""
    answer = await client.get("/docs/", headers={"host": "evil.example.org"})
    assert (answer.status_code, answer.json()["error"]) == (404, "NOT_FOUND")


MANY = "&".join(f"p{index}=1" for index in range(300))
HANDSHAKES = {
    "unknown address": ("/v1/nothing", {}, 404),
    "a call's address": (PATH, {}, 404),
    "another origin": ("/v1/realtime/ws", {"Origin": "https://evil.example.org"}, 403),
    "a token in the address": ("/v1/realtime/ws?access_token=x", {}, 400),
    "too many parameters": (f"/v1/realtime/ws?{MANY}", {}, 400),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_refused_handshakes_look_like_all_others(name: str, client: httpx.AsyncClient) -> None:
    """A WebSocket that is refused gets the ordinary refusal with its request id."""
    path, headers, status = HANDSHAKES[name]
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{client.base_url.port}{path}", additional_headers=headers)
    answer = refused.value.response
    body = json.loads(answer.body or b"")
    assert answer.status_code == status
    assert set(body) == {"error", "message", "details", "requestId"}
    assert body["requestId"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/realtime/sse"), ("POST", "/v1/realtime/sse/tickets"), ("GET", LIST)]
)
async def test_too_many_parameters(method: str, path: str, client: httpx.AsyncClient) -> None:
    """More than two hundred parameters are 400 in the ordinary shape, at realtime's addresses too."""
    answer = await client.request(method, f"{path}?{MANY}")
    assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_ARGUMENT")
    assert answer.json()["requestId"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("GET", "/v1/realtime/sse?clinicId=x&colour=red", None, "colour"),
        ("POST", "/v1/realtime/sse/tickets?colour=red", None, "colour"),
        ("POST", "/v1/realtime/sse/tickets", b"{}", "body"),
        ("GET", "/v1/realtime/sse?clinicId=x", b"{}", "body"),
    ],
)
async def test_realtime_is_as_strict_as_every_call(
    method: str, path: str, body: bytes | None, field: str, client: httpx.AsyncClient
) -> None:
    """Parameters that there are not, and bodies that nobody takes, are refused by name."""
    answer = await client.request(method, path, content=body)
    assert answer.status_code == 400
    assert [violation["field"] for violation in answer.json()["details"]["violations"]] == [field]


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


async def test_connections_are_bounded(start_gateway: StartGateway) -> None:
    """One connection too many is closed at once; those that are open go on being served, and room comes back."""
    client = await start_gateway(MEDFORALL_HTTP_CONNECTIONS_MAX="20")
    host, port = "127.0.0.1", client.base_url.port or 0
    opened = [await asyncio.open_connection(host, port) for _ in range(20)]
    over, closing = await asyncio.open_connection(host, port)
    assert await asyncio.wait_for(over.read(), 5) == b""
    closing.close()
    for reader, writer in opened:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
    for _, writer in opened:
        writer.close()

    async def has_room() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await client.get("/healthz")).status_code == 200
        return False

    await wait_until_async(has_room, what="a place")
