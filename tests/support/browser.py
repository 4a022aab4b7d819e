"""Headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.waiting import wait_until_async

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--window-size=1440,900",
    "--remote-debugging-port=0",
)
ARTEFACTS = Path(
    os.environ.get("MEDFORALL_ARTEFACTS", Path(__file__).resolve().parents[2] / "build" / "artefacts")
)


def chromium() -> str:
    """The browser's path; skips the test where there is none, but never in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is missing: CI installs it")
        pytest.skip("Chromium is not installed")
    return path


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.faults: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; events that come meanwhile are looked through for faults."""
        id_ = next(self._ids)
        await self._connection.send(json.dumps({"id": id_, "method": method, "params": parameters}))
        async with asyncio.timeout(20):
            while True:
                message = json.loads(await self._connection.recv())
                if message.get("id") == id_:
                    assert "error" not in message, message
                    result: dict[str, Any] = message["result"]
                    return result
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(message["params"]["exceptionDetails"])[:500])

    async def open(self, address: str) -> None:
        """Go to an address."""
        await self.call("Runtime.enable")
        await self.call("Page.enable")
        await self.call("Page.navigate", url=address)

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, expression: str, *, timeout_s: float = 15.0) -> None:
        """Wait until an expression is true."""

        async def holds() -> bool:
            # The page may not be there yet.
            attempt = f"(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()"
            return bool(await self.value(attempt))

        await wait_until_async(holds, timeout_s=timeout_s, what=expression)

    async def screenshot(self, name: str) -> Path:
        """Keep a picture of the page among the artefacts."""
        picture = await self.call("Page.captureScreenshot", format="png")
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        path.write_bytes(base64.b64decode(picture["data"]))
        return path


@asynccontextmanager
async def browser_page() -> AsyncIterator[Page]:
    """A tab of a browser of its own."""
    path = chromium()
    with tempfile.TemporaryDirectory(prefix="medforall-chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            path,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = await _port(Path(profile))
            async with connect(await _tab(port), max_size=None, proxy=None, ping_interval=None) as connection:
                yield Page(connection)
        finally:
            # The whole group: the browser has helpers of its own.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _port(profile: Path) -> int:
    told = profile / "DevToolsActivePort"

    async def is_told() -> bool:
        return told.exists() and bool(told.read_text().strip())

    await wait_until_async(is_told, timeout_s=30, what="Chromium")
    return int(told.read_text().split()[0])


async def _tab(port: int) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        tabs = (await http.get(f"http://127.0.0.1:{port}/json/list")).json()
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
