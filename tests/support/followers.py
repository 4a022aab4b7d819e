"""WebSocket clients that are cut off again and again, and go on where they were."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.realtime import RealtimeSuite
from tests.support.waiting import wait_until_async


class Follower:
    """A client that connects again whenever it is cut off, and goes on where it was."""

    def __init__(self, suite: RealtimeSuite, token: str, channel: str) -> None:
        self._suite = suite
        self._token = token
        self._channel = channel
        self.received: list[dict[str, Any]] = []
        self.position = ""
        self.connects = 0
        self.is_live = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow()
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                self.is_live.clear()
                await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _follow(self) -> None:
        async with connect(self._suite.ws_url, compression=None, proxy=None, open_timeout=5) as connection:
            self.connects += 1
            await connection.send(json.dumps({"type": "authenticate", "token": self._token}))
            subscribe = {"type": "subscribe", "channels": [self._channel]}
            if self.position:
                subscribe["resumeFrom"] = self.position
            await connection.send(json.dumps(subscribe))
            async for text in connection:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        assert message["type"] != "resync", message
        if message["type"] == "error":
            raise TimeoutError
        self.position = message.get("metadata", {}).get("sequence") or self.position
        if message["type"] == "subscribed":
            self.is_live.set()
        elif "eventId" in message.get("metadata", {}):
            self.received.append(message)


@asynccontextmanager
async def following(followers: list[Follower]) -> AsyncIterator[None]:
    """Run the followers meanwhile."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follower.run()) for follower in followers]
        try:
            await asyncio.gather(*(follower.is_live.wait() for follower in followers))
            yield
        finally:
            for task in tasks:
                task.cancel()


async def until_told(followers: Sequence[Follower], event_ids: Sequence[str]) -> None:
    """Wait until each has heard of its event."""
    for follower, event_id in zip(followers, event_ids, strict=True):

        async def is_told(follower: Follower = follower, event_id: str = event_id) -> bool:
            return event_id in [message["metadata"]["eventId"] for message in follower.received]

        await wait_until_async(is_told, timeout_s=40, what=event_id)
