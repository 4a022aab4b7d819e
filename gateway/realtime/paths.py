"""The addresses of realtime that are no RPC, as the OpenAPI document describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.realtime.members import SCOPE
from gateway.realtime.tickets import TTL_S
from scheduling.channels import CHANNELS_MAX

SSE_PATH = "/v1/realtime/sse"
TICKETS_PATH = "/v1/realtime/sse/tickets"
TAG = "RealtimeService"
TICKET_SCHEME = {
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "Opens one stream, once, for clients that cannot send an `Authorization` header. Who is cut off "
        "gets another ticket and gives `resumeFrom`.",
    }
}

LIST_PARAMETERS: Mapping[str, str] = {
    "channels": "`clinic:<id>`, `provider:<id>`, `patient:<id>`, `location:<id>:<YYYY-MM-DD>`; at most "
    f"{CHANNELS_MAX} over all parameters.",
    "clinicId": "Short for `clinic:<id>`.",
    "providerId": "Short for `provider:<id>`.",
    "patientId": "Short for `patient:<id>`.",
    "locationId": "With `date`, short for `location:<id>:<date>`.",
    "date": "Local day, `YYYY-MM-DD`; goes with `locationId`.",
}
_RESUME = "The last position that was seen: what was missed comes first."


def realtime_paths() -> dict[str, dict[str, Any]]:
    """The path items; the messages of the stream are in the AsyncAPI document."""
    return {SSE_PATH: {"get": _listen()}, TICKETS_PATH: {"post": _issue_ticket()}}


def _listen() -> dict[str, Any]:
    return _operation(
        "listen",
        (
            "Streams what happens in a clinic, as server-sent events, until either side ends it.",
            "The events are those of `/asyncapi.json`. A token in the address is refused: a page gets a ticket first.",
        ),
        parameters=[
            *(
                {"name": name, "in": "query", "required": False, "description": text, "schema": _list()}
                for name, text in LIST_PARAMETERS.items()
            ),
            _text_parameter("query", "resumeFrom", _RESUME),
            _text_parameter("header", "Last-Event-ID", f"{_RESUME} Browsers send it by themselves."),
        ],
        status="200",
        answer={
            "description": "The stream.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
    ) | {"security": [{"bearer": []}, {"ticket": []}]}


def _issue_ticket() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "ticket": {"type": "string"},
            "expiresIn": {"type": "integer", "description": "Seconds."},
        },
        "required": ["ticket", "expiresIn"],
    }
    return _operation(
        "createRealtimeTicket",
        (f"Gives a ticket that opens one stream within {TTL_S} s, as this caller.", ""),
        parameters=[],
        status="201",
        answer={"description": "Created.", "content": {"application/json": {"schema": schema}}},
    )


def _operation(
    id_: str, words: tuple[str, str], *, parameters: Sequence[Any], status: str, answer: Mapping[str, Any]
) -> dict[str, Any]:
    """An operation; `words` are its summary and what else there is to say."""
    summary, text = words
    refusals = {
        code: {"$ref": f"#/components/responses/{code}"} for code in ("400", "401", "403", "429", "503")
    }
    return {
        "operationId": id_,
        "tags": [TAG],
        "summary": summary,
        "description": " ".join(part for part in (text, f"Scope: `{SCOPE}`.") if part),
        "parameters": list(parameters),
        "responses": {status: answer, **refusals, "default": {"$ref": "#/components/responses/default"}},
        "x-scopes": [SCOPE],
    }


def _list() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "maxItems": CHANNELS_MAX}


def _text_parameter(place: str, name: str, description: str) -> dict[str, Any]:
    schema = {"type": "string", "maxLength": 64}
    return {"name": name, "in": place, "required": False, "description": description, "schema": schema}
