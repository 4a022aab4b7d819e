"""Print what happens in a clinic, as it happens.

Run it as `.venv/bin/python examples/watch.py [COUNT]`, after `medforall env`; it ends after COUNT messages, or never.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys

from websockets.asyncio.client import connect

ANSWERS = {"authenticated", "subscribed"}


async def watch(count: int) -> None:
    """Join the clinic's channel and print one line a message."""
    url = os.environ["GATEWAY"].replace("http", "ws", 1) + "/v1/realtime/ws"
    trust = ssl.create_default_context(cafile=os.environ["CA_FILE"]) if "CA_FILE" in os.environ else None
    async with connect(url, ssl=trust) as socket:
        await socket.send(json.dumps({"type": "authenticate", "token": os.environ["TOKEN"]}))
        await socket.send(json.dumps({"type": "subscribe", "channels": [f"clinic:{os.environ['CLINIC']}"]}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] in ANSWERS:
                print(message["type"], flush=True)
                continue
            print(message["type"], message.get("payload", {}).get("start", ""), flush=True)
            count -= 1
            if count == 0:
                return


if __name__ == "__main__":
    asyncio.run(watch(int(sys.argv[1]) if len(sys.argv) > 1 else -1))
