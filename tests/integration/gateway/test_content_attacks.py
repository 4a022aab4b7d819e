"""Bodies, queries and addresses that are not what the contract says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from chassis.auth.principal import Role
from tests.integration.gateway.conftest import (
    CLINIC,
    LIST,
    Services,
)


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
