"""Calls to the servers under test, and what their refusals say."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2

Token = Callable[..., str]


def bearer(token: str, **more: str) -> tuple[tuple[str, str], ...]:
    return (
        ("authorization", f"Bearer {token}"),
        *((key.replace("_", "-"), value) for key, value in more.items()),
    )


async def refused(call: Any) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """The code and rich status of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), rich(caught.value)


def rich(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    trailing = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(trailing["grpc-status-details-bin"])


def detail(status: status_pb2.Status, kind: type[Any]) -> Any:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    raise AssertionError(f"no {kind.__name__} in the status")


async def outcome(call: Any, *, streams_out: bool) -> list[Any]:
    """Every reply of a call."""
    return [reply async for reply in call] if streams_out else [await call]


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - a condition with a deadline
            await asyncio.sleep(0.01)
