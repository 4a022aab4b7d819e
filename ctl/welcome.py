"""What a newcomer reads when the suite is ready: addresses, a token, three commands that work when pasted."""

import json
import shlex
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from ctl.home import Home
from ctl.readiness import trusting
from ctl.run_file import DemoFacts, RunFile, TlsFacts

_SEARCH_DAYS = 7
_TIMEOUT_S = 10.0


def print_welcome(console: Console, facts: RunFile, home: Home) -> None:
    """Print the addresses, and the first steps when there is a demo clinic."""
    _heading(console, "medforall is ready")
    _fact(console, "REST", f"{facts.gateway_url}/v1")
    _fact(console, "WebSocket", f"{facts.gateway_url.replace('http', 'ws', 1)}/v1/realtime/ws")
    _fact(console, "Documentation", f"{facts.gateway_url}/docs")
    for name, target in facts.grpc.items():
        _fact(console, f"gRPC {name}", target)
    if facts.tls:
        _fact(console, "TLS: trust", facts.tls.ca_file)
        _fact(console, "TLS: for gRPC", f"{facts.tls.certificate_file}  {facts.tls.key_file}")
    _fact(console, "All of it", f"{home.run_file}  (URLs, tokens and demo ids, for scripts)")
    if facts.demo and facts.demo.patient_ids:
        _heading(console, "First steps: paste these")
        for line in first_steps(facts, facts.demo):
            console.print(Text(line), soft_wrap=True, highlight=False)
    console.print()


def first_steps(facts: RunFile, demo: DemoFacts) -> list[str]:
    """Shell lines: set a token; search; book the first free slot; list that day."""
    token = facts.tokens["admin"]
    curl = f"curl -s --cacert {shlex.quote(facts.tls.ca_file)}" if facts.tls else "curl -s"
    clinic = f"{facts.gateway_url}/v1/clinics/{demo.clinic_id}"
    search = f"{clinic}/availability?{urllib.parse.urlencode(_search(demo))}"
    lines = [
        f"TOKEN={token}",
        f"{curl} -H \"Authorization: Bearer $TOKEN\" '{search}'",
    ]
    slot = first_slot(search, token, facts.tls)
    if slot:
        booking = json.dumps(booking_of(slot, demo))
        lines += [
            (
                f"{curl} -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' "
                f"-H 'Idempotency-Key: {uuid.uuid4()}' -d '{booking}' '{clinic}/appointments'"
            ),
            f"{curl} -H \"Authorization: Bearer $TOKEN\" '{clinic}/appointments?date={slot['start'][:10]}'",
        ]
    return lines


def booking_of(slot: Mapping[str, Any], demo: DemoFacts) -> dict[str, str]:
    """The body that books `slot` for the first demo patient."""
    return {
        "patientId": demo.patient_ids[0],
        "serviceId": demo.service_id,
        "locationId": demo.location_id,
        "providerId": slot["provider"]["id"],
        "start": slot["start"],
        "end": slot["end"],
        "roomSelectionMode": "auto",
    }


def first_slot(search_url: str, token: str, tls: TlsFacts | None = None) -> dict[str, Any] | None:
    """The first free slot that the search finds; None when there is none or the gateway does not answer."""
    request = urllib.request.Request(search_url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    try:
        with urllib.request.urlopen(  # noqa: S310 - our own gateway
            request, timeout=_TIMEOUT_S, context=trusting(tls)
        ) as answer:
            slots = json.load(answer).get("slots", [])
    except (urllib.error.URLError, OSError, ValueError):
        return None
    return slots[0] if slots else None


def _search(demo: DemoFacts) -> dict[str, str]:
    tomorrow = datetime.now(UTC).astimezone(ZoneInfo(demo.timezone)).date() + timedelta(days=1)
    return {
        "serviceId": demo.service_id,
        "locationId": demo.location_id,
        "start": f"{tomorrow}T00:00:00",
        "end": f"{tomorrow + timedelta(days=_SEARCH_DAYS)}T00:00:00",
        "patientId": demo.patient_ids[0],
        "limit": "3",
    }


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold green"))


def _fact(console: Console, name: str, value: str) -> None:
    console.print(Text(f"  {name:<18}", style="dim") + Text(value), soft_wrap=True, highlight=False)
