"""Show that the whole suite works: one booking, from REST to the database to every reader and back.

Starts the suite in a temporary home, books through REST, sees `appointment.created` on a WebSocket and the slot gone
from the next search, cancels, sees it back, and stops. Exit code 0 means that all of it happened, and that no
process was left.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parent.parent
START_S = 80.0
STEP_S = 15.0
PATIENCE_S = 10.0
LOOK_S = 0.05
SECOND_START_S = 10.0


class CheckFailed(Exception):
    """A step did not do what it should."""


def main() -> int:
    """Run the check; 0 when everything happened."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medforall-up-check-") as folder:
        home = Path(folder) / "home"
        try:
            facts = start(home)
            asyncio.run(travel(facts))
            stop(home, facts)
            again(home, facts)
        except (CheckFailed, httpx.HTTPError, TimeoutError, OSError, subprocess.TimeoutExpired) as error:
            print(f"up-check FAILED: {error or type(error).__name__}", file=sys.stderr)
            show_logs(home)
            medforall(home, "down")
            return 1
    print(f"up-check passed in {time.monotonic() - began:.1f} s")
    return 0


def start(home: Path) -> dict[str, Any]:
    """Bring the suite up and return its run.json."""
    began = time.monotonic()
    done = medforall(home, "up", "--detach")
    if done.returncode:
        raise CheckFailed(f"the suite did not start: {done.stderr.strip() or done.stdout.strip()}")
    step(began, "the suite is up")
    return dict(json.loads((home / "run.json").read_text()))


def again(home: Path, before: Mapping[str, Any]) -> None:
    """Bring the suite up a second time, within its bound and with its data, and stop it."""
    began = time.monotonic()
    facts = start(home)
    took_s = time.monotonic() - began
    if took_s > SECOND_START_S:
        raise CheckFailed(f"the second start took {took_s:.1f} s, more than {SECOND_START_S:.0f} s")
    if facts["demo"] != before["demo"]:
        raise CheckFailed("the second start does not have the data of the first")
    stop(home, facts)


async def travel(facts: Mapping[str, Any]) -> None:
    """Book, look everywhere, cancel, look again."""
    demo = facts["demo"]
    base = f"{facts['gateway_url']}/v1/clinics/{demo['clinic_id']}"
    headers = {"Authorization": f"Bearer {facts['tokens']['admin']}"}
    url = facts["gateway_url"].replace("http", "ws", 1) + "/v1/realtime/ws"
    async with (
        httpx.AsyncClient(base_url=base, headers=headers, timeout=STEP_S) as rest,
        connect(url) as socket,
    ):
        await listen(socket, facts)
        slot = (await search(rest, demo))[0]
        began = time.monotonic()
        appointment, etag = await book(rest, demo, slot)
        step(began, f"booked {slot['start']} through REST")
        await expect(socket, "appointment.created", appointment)
        step(began, "appointment.created arrived on the WebSocket")
        await until_offered(rest, demo, slot, offered=False)
        step(began, "the slot is gone from the search")
        began = time.monotonic()
        await cancel(rest, appointment, etag)
        await expect(socket, "appointment.canceled", appointment)
        await until_offered(rest, demo, slot, offered=True)
        step(began, "canceled, told, and offered again")


async def listen(socket: ClientConnection, facts: Mapping[str, Any]) -> None:
    """Authenticate and join the clinic's channel; returns when the channel is joined."""
    await socket.send(json.dumps({"type": "authenticate", "token": facts["tokens"]["admin"]}))
    await socket.send(json.dumps({"type": "subscribe", "channels": [f"clinic:{facts['demo']['clinic_id']}"]}))
    await receive(socket, lambda message: message.get("type") == "subscribed", "the subscription")


async def search(rest: httpx.AsyncClient, demo: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The free slots of the next week for the first demo patient, earliest first."""
    tomorrow = datetime.now(UTC).astimezone(ZoneInfo(demo["timezone"])).date() + timedelta(days=1)
    query = {
        "serviceId": demo["service_id"],
        "locationId": demo["location_id"],
        "start": f"{tomorrow}T00:00:00",
        "end": f"{tomorrow + timedelta(days=7)}T00:00:00",
        "patientId": demo["patient_ids"][0],
        "orderBy": "time",
        "limit": "500",
    }
    slots: list[dict[str, Any]] = answer(await rest.get("/availability", params=query), 200)["slots"]
    if not slots:
        raise CheckFailed("the search offers no slot")
    return slots


async def book(
    rest: httpx.AsyncClient, demo: Mapping[str, Any], slot: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Book a slot for the first demo patient; the appointment and its ETag."""
    body = {
        "patientId": demo["patient_ids"][0],
        "serviceId": demo["service_id"],
        "locationId": demo["location_id"],
        "providerId": slot["provider"]["id"],
        "start": slot["start"],
        "end": slot["end"],
        "roomSelectionMode": "auto",
    }
    reply = await rest.post("/appointments", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    appointment: dict[str, Any] = answer(reply, 201)["appointment"]
    return appointment, reply.headers["ETag"]


async def cancel(rest: httpx.AsyncClient, appointment: Mapping[str, Any], etag: str) -> None:
    """Cancel what was booked, naming the version that was seen."""
    reply = await rest.patch(
        f"/appointments/{appointment['id']}",
        json={"status": "canceled", "reason": "up-check"},
        headers={"If-Match": etag, "Idempotency-Key": str(uuid.uuid4())},
    )
    found = answer(reply, 200)
    if found.get("appointment", found)["status"] != "canceled":
        raise CheckFailed(f"the appointment is not canceled: {found}")


async def until_offered(
    rest: httpx.AsyncClient, demo: Mapping[str, Any], slot: Mapping[str, Any], *, offered: bool
) -> None:
    """Search until the slot is (or is no longer) offered."""
    deadline = time.monotonic() + PATIENCE_S
    while is_among(slot, await search(rest, demo)) != offered:
        if time.monotonic() > deadline:
            raise CheckFailed(f"after {PATIENCE_S:g} s the slot is still {'not ' if offered else ''}offered")
        await asyncio.sleep(LOOK_S)


def is_among(slot: Mapping[str, Any], slots: list[dict[str, Any]]) -> bool:
    """Whether the same provider is offered at the same time."""
    return any(
        other["startUTC"] == slot["startUTC"] and other["provider"]["id"] == slot["provider"]["id"]
        for other in slots
    )


async def expect(socket: ClientConnection, kind: str, appointment: Mapping[str, Any]) -> None:
    """Wait for an event about the appointment."""

    def is_it(message: Mapping[str, Any]) -> bool:
        return message.get("type") == kind and message["payload"]["appointmentId"] == appointment["id"]

    await receive(socket, is_it, kind)


async def receive(socket: ClientConnection, is_it: Callable[[Mapping[str, Any]], bool], what: str) -> None:
    """Read messages until one is the wanted one; an error message ends the wait."""
    try:
        async with asyncio.timeout(STEP_S):
            async for text in socket:
                message = json.loads(text)
                if message.get("type") == "error":
                    raise CheckFailed(f"the WebSocket says {message}")
                if is_it(message):
                    return
    except TimeoutError:
        raise CheckFailed(f"{what} did not arrive on the WebSocket within {STEP_S:g} s") from None
    raise CheckFailed(f"the WebSocket was closed before {what} arrived")


def answer(reply: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a reply that has the expected status."""
    if reply.status_code != status:
        raise CheckFailed(
            f"{reply.request.method} {reply.request.url} answered {reply.status_code}: {reply.text}"
        )
    return dict(reply.json())


def stop(home: Path, facts: Mapping[str, Any]) -> None:
    """Stop the suite and make sure that nothing of it is left."""
    began = time.monotonic()
    family = [
        process for pid in facts["pids"].values() if psutil.pid_exists(pid) for process in with_children(pid)
    ]
    done = medforall(home, "down")
    if done.returncode:
        raise CheckFailed(f"`down` said: {done.stderr.strip()}")
    _, left = psutil.wait_procs(family, timeout=PATIENCE_S)
    if left:
        raise CheckFailed(f"processes are left: {[process.pid for process in left]}")
    if (home / "run.json").exists():
        raise CheckFailed("run.json is still there")
    step(began, "stopped, nothing is left")


def with_children(pid: int) -> list[psutil.Process]:
    """A process and all it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def medforall(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the check's home."""
    return subprocess.run(
        [sys.executable, "-m", "ctl", *arguments, "--home", str(home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


def show_logs(home: Path) -> None:
    """The end of each log, to see what went wrong."""
    for path in sorted((home / "logs").glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()[-15:]
        print(f"--- {path.name}", *lines, sep="\n", file=sys.stderr)


def step(began: float, what: str) -> None:
    """Say what happened and how long it took."""
    print(f"  {time.monotonic() - began:6.2f} s  {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
