"""REST calls arrive at the services as the contract says, and their answers as the seed says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from medforall.availability.v1 import availability_pb2
from medforall.booking.v1 import appointment_pb2, booking_pb2
from medforall.directory.v1 import directory_pb2
from medforall.type.v1 import reason_pb2, scheduling_pb2

from chassis.auth.principal import Role
from scheduling.errors import Conflict, FieldViolation, Invalid, Reason, Refused, Stale, Unavailable
from tests.integration.gateway.conftest import (
    APPOINTMENT,
    CLINIC,
    LOCATION,
    OTHER_CLINIC,
    PATIENT,
    PROVIDER,
    SERVICE,
    Services,
    StartGateway,
)

APPOINTMENTS = f"/v1/clinics/{CLINIC}/appointments"
AVAILABILITY = f"/v1/clinics/{CLINIC}/availability"
SEARCH = {
    "serviceId": SERVICE,
    "locationId": LOCATION,
    "start": "2026-02-20T00:00:00",
    "end": "2026-02-21T00:00:00",
}
BODY = {
    "patientId": PATIENT,
    "serviceId": SERVICE,
    "providerId": PROVIDER,
    "start": "2026-02-20T09:00:00-05:00",
    "roomId": None,
    "roomSelectionMode": "auto",
}


def appointment(**changes: Any) -> appointment_pb2.Appointment:
    """An appointment as the booking service returns it."""
    fields: dict[str, Any] = {
        "id": APPOINTMENT,
        "clinic_id": CLINIC,
        "start": "2026-02-20T09:00:00-05:00",
        "status": appointment_pb2.APPOINTMENT_STATUS_SCHEDULED,
        "version": 3,
        "etag": '"3"',
    }
    made = appointment_pb2.Appointment(**(fields | changes))
    made.start_utc.FromJsonString("2026-02-20T14:00:00Z")
    return made


def slot(score: int = 90) -> scheduling_pb2.Slot:
    """A slot with a room."""
    made = scheduling_pb2.Slot(start="2026-02-20T09:00:00-05:00", score=score)
    made.room_options.add(id="room", name="Room 101", type="exam")
    return made


async def test_create_answers_201_with_location_and_etag(
    client: httpx.AsyncClient, services: Services
) -> None:
    """A booking is 201, says where it is, carries its tag, and the header's key reaches the service."""
    services.answers("CreateAppointment", booking_pb2.CreateAppointmentResponse(appointment=appointment()))
    answer = await client.post(APPOINTMENTS, json=BODY, headers={"Idempotency-Key": "key-1"})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{APPOINTMENTS}/{APPOINTMENT}"
    assert answer.headers["etag"] == '"3"'
    assert answer.headers["cache-control"] == "no-store"
    assert "idempotent-replayed" not in answer.headers
    body = answer.json()["appointment"]
    assert body["startUTC"] == "2026-02-20T14:00:00Z"
    assert body["status"] == "scheduled"
    assert body["version"] == "3"
    (request,) = services.requests
    assert isinstance(request, booking_pb2.CreateAppointmentRequest)
    assert (request.clinic_id, request.idempotency_key) == (CLINIC, "key-1")
    assert request.room_selection_mode == appointment_pb2.ROOM_SELECTION_MODE_AUTO


async def test_a_replay_is_marked(client: httpx.AsyncClient, services: Services) -> None:
    """The first answer again says so in a header."""
    reply = booking_pb2.CreateAppointmentResponse(appointment=appointment(), replayed=True)
    services.answers("CreateAppointment", reply)
    answer = await client.post(APPOINTMENTS, json=BODY)
    assert (answer.status_code, answer.headers["idempotent-replayed"]) == (201, "true")


async def test_keys_in_header_and_body_must_agree(client: httpx.AsyncClient) -> None:
    """Two different idempotency keys are refused: nobody could say which one counts."""
    answer = await client.post(
        APPOINTMENTS, json=BODY | {"idempotencyKey": "a"}, headers={"Idempotency-Key": "b"}
    )
    assert answer.status_code == 400
    assert answer.json()["details"]["violations"][0]["field"] == "Idempotency-Key"


async def test_if_match_and_stale_etag(client: httpx.AsyncClient, services: Services) -> None:
    """If-Match travels as the request's etag; a stale one is 412."""
    services.answers("UpdateAppointment", Stale("It has changed.", reason=Reason.STALE_ETAG))
    answer = await client.patch(
        f"{APPOINTMENTS}/{APPOINTMENT}", json={"status": "canceled"}, headers={"If-Match": '"2"'}
    )
    assert (answer.status_code, answer.json()["error"]) == (412, "STALE_ETAG")
    (request,) = services.requests
    assert isinstance(request, booking_pb2.UpdateAppointmentRequest)
    assert request.etag == '"2"'
    assert request.status == appointment_pb2.APPOINTMENT_STATUS_CANCELED


async def test_a_patch_names_the_fields_it_has_down_to_those_of_a_nested_one(
    client: httpx.AsyncClient, services: Services, token: Callable[..., str]
) -> None:
    """What a PATCH says of an address leaves the rest of it; a list and a null are whole values."""
    services.answers("UpdateLocation", directory_pb2.UpdateLocationResponse())
    bodies: list[tuple[dict[str, Any], list[str]]] = [
        ({"name": "Pier", "address": {"city": "Kiel", "zip": None}}, ["address.city", "address.zip", "name"]),
        ({"address": None}, ["address"]),
        ({"hours": [{"weekday": 1, "start": "09:00", "end": "17:00"}]}, ["hours"]),
    ]
    for body, paths in bodies:
        answer = await client.patch(
            f"/v1/clinics/{CLINIC}/locations/{LOCATION}",
            json=body,
            headers={"authorization": f"Bearer {token(role=Role.ADMIN)}"},
        )
        assert answer.status_code == 200, answer.text
        request: Any = services.requests[-1]
        assert sorted(request.update_mask.paths) == paths


async def test_get_is_revalidated(client: httpx.AsyncClient, services: Services) -> None:
    """An appointment carries its tag and is asked about each time; an unchanged one is 304 without a body."""
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse(appointment=appointment()))
    path = f"{APPOINTMENTS}/{APPOINTMENT}"
    first = await client.get(path)
    assert (first.status_code, first.headers["cache-control"]) == (200, "private, no-cache")
    again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", '"3"')
    other = await client.get(path, headers={"If-None-Match": '"2"'})
    assert other.status_code == 200


async def test_availability_is_tagged_by_its_slots_alone(
    client: httpx.AsyncClient, services: Services
) -> None:
    """Two answers with the same slots have the same weak tag, whenever they were fetched; a 304 says when."""
    reply = availability_pb2.SearchSlotsResponse(slots=[slot()])
    reply.metadata.fetched_at.FromJsonString("2026-02-15T10:30:00Z")
    services.answers("SearchSlots", reply)
    first = await client.get(AVAILABILITY, params=SEARCH)
    assert first.status_code == 200, first.text
    assert first.headers["cache-control"] == "private, max-age=30, must-revalidate"
    assert first.headers["etag"].startswith('W/"')
    reply.metadata.fetched_at.FromJsonString("2026-02-15T10:30:09Z")
    again = await client.get(AVAILABILITY, params=SEARCH, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.headers["x-fetched-at"]) == (304, "2026-02-15T10:30:09Z")
    reply.slots.append(slot(80))
    changed = await client.get(AVAILABILITY, params=SEARCH, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert [one["score"] for one in changed.json()["slots"]] == [90, 80]


async def test_lists_in_a_query(client: httpx.AsyncClient, services: Services) -> None:
    """A list is comma-separated, repeated, or both; enum values are lower case or the contract's own."""
    services.answers("ListAppointments", booking_pb2.ListAppointmentsResponse())
    answer = await client.get(
        f"{APPOINTMENTS}?status=scheduled,confirmed&status=APPOINTMENT_STATUS_NO_SHOW&limit=10&providerId="
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"appointments": [], "nextPageToken": "", "page": 0, "limit": 0}
    (request,) = services.requests
    assert isinstance(request, booking_pb2.ListAppointmentsRequest)
    assert list(request.status) == [2, 3, 8]
    assert request.limit == 10


async def test_unknown_names_are_refused_all_at_once(client: httpx.AsyncClient, services: Services) -> None:
    """Every unknown parameter or field is named, and the service is not asked."""
    answer = await client.get(AVAILABILITY, params=SEARCH | {"minRating": "4", "limit": "many"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "INVALID_ARGUMENT"
    assert answer.json()["details"]["violations"] == [
        {"field": "minRating", "description": "is not a parameter of this request"},
        {"field": "limit", "description": "must be a whole number"},
    ]
    answer = await client.post(APPOINTMENTS, json=BODY | {"colour": "red", "roomSelectionMode": "best"})
    fields = {violation["field"] for violation in answer.json()["details"]["violations"]}
    assert fields == {"roomSelectionMode", "colour"}
    assert services.requests == []


async def test_a_conflict_offers_alternatives(client: httpx.AsyncClient, services: Services) -> None:
    """409 says what is taken and what is free, decoded into the details."""
    conflict = scheduling_pb2.BookingConflict(same_provider=[slot()])
    conflict.taken.add(
        kind=scheduling_pb2.SCARCE_KIND_PROVIDER,
        id=PROVIDER,
        reason=reason_pb2.ERROR_REASON_SLOT_ALREADY_BOOKED,
    )
    services.answers("CreateAppointment", Conflict("Taken.", details=[conflict]))
    answer = await client.post(APPOINTMENTS, json=BODY)
    assert answer.status_code == 409
    body = answer.json()
    assert set(body) == {"error", "message", "details", "requestId"}
    assert (body["error"], body["message"]) == ("SLOT_ALREADY_BOOKED", "Taken.")
    assert body["details"]["bookingConflict"]["taken"] == [
        {"kind": "provider", "id": PROVIDER, "reason": "SLOT_ALREADY_BOOKED"}
    ]
    assert body["requestId"] == answer.headers["x-request-id"]


async def test_refusals_have_their_status(client: httpx.AsyncClient, services: Services) -> None:
    """A rule is 422, a bad field 400 with its violation, a service that is away 503 with Retry-After."""
    path = f"{APPOINTMENTS}/{APPOINTMENT}:cancel"
    services.answers("CancelAppointment", Refused("No.", reason=Reason.INVALID_TRANSITION))
    assert (await client.post(path)).status_code == 422
    services.answers("CancelAppointment", Invalid("No.", violations=[FieldViolation("reason", "is rude")]))
    answer = await client.post(path, json={"reason": "x"})
    assert (answer.status_code, answer.json()["details"]["violations"][0]["field"]) == (400, "reason")
    services.answers("CancelAppointment", Unavailable("Away.", retry_after_s=2.2))
    answer = await client.post(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    services.answers("CancelAppointment", RuntimeError("secret"))
    answer = await client.post(path)
    assert (answer.status_code, answer.json()["error"]) == (500, "INTERNAL")
    assert "secret" not in answer.text


async def test_what_is_not_built_is_501(client: httpx.AsyncClient) -> None:
    """An RPC that the service does not implement is 501 in the form of every refusal."""
    answer = await client.get(AVAILABILITY + ":next", params={"serviceId": SERVICE})
    assert (answer.status_code, answer.json()["error"]) == (501, "NOT_IMPLEMENTED")


async def test_other_clinics_are_not_found(client: httpx.AsyncClient, services: Services) -> None:
    """Another clinic's address is 404, before the service is asked."""
    answer = await client.get(f"/v1/clinics/{OTHER_CLINIC}/appointments")
    assert (answer.status_code, answer.json()["error"]) == (404, "NOT_FOUND")
    assert services.requests == []


async def test_the_call_carries_token_request_id_and_deadline(
    client: httpx.AsyncClient, services: Services
) -> None:
    """The service sees the caller's own token, the request's id, the trace and a deadline."""
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse(appointment=appointment()))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await client.get(
        f"{APPOINTMENTS}/{APPOINTMENT}", headers={"X-Request-Id": "request-12345", "traceparent": trace}
    )
    (call,) = services.calls
    assert call.request_id == "request-12345"
    assert call.caller.subject == "user-1"
    assert call.traceparent is not None
    assert call.traceparent[3:35] == trace[3:35]
    remaining_s = call.remaining_s()
    assert remaining_s is not None
    assert 0 < remaining_s <= 30


async def test_unknown_addresses_and_methods(client: httpx.AsyncClient) -> None:
    """404 and 405 have the shape of every refusal; 405 says what is allowed."""
    missing = await client.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]) == (404, "NOT_FOUND")
    wrong = await client.delete(APPOINTMENTS)
    assert (wrong.status_code, wrong.json()["error"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "GET, POST, HEAD"
    assert set(wrong.json()) == {"error", "message", "details", "requestId"}
    page = await client.post("/healthz")
    assert (page.status_code, page.json()["error"]) == (405, "METHOD_NOT_ALLOWED")


async def test_health(client: httpx.AsyncClient) -> None:
    """The gateway is alive, and ready once its services can be reached."""
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).status_code in (200, 503)


async def test_a_replayed_refusal_is_marked(client: httpx.AsyncClient, services: Services) -> None:
    """The first refusal again says so in the header that the first answer again has; a new one does not."""
    for replayed in (False, True):
        metadata = {"replayed": "true"} if replayed else {}
        services.answers("CreateAppointment", Refused("No.", reason=Reason.LEAD_TIME, metadata=metadata))
        answer = await client.post(APPOINTMENTS, json=BODY)
        assert answer.status_code == 422
        assert answer.headers.get("idempotent-replayed") == ("true" if replayed else None)


@pytest.mark.parametrize("tags", ["7", "*7", '"7', 'W/7, "1"', '"7" "1"', ""])
async def test_if_match_without_quotes_is_refused(
    client: httpx.AsyncClient, services: Services, tags: str
) -> None:
    """What is no list of entity tags is 400 and not guessed at."""
    answer = await client.patch(
        f"{APPOINTMENTS}/{APPOINTMENT}", json={"status": "canceled"}, headers={"If-Match": tags}
    )
    assert answer.status_code == 400
    assert answer.json()["details"]["violations"][0]["field"] == "If-Match"
    assert not services.asked("UpdateAppointment")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('{"start": "2026-12-01T09:00", "start": "2026-12-01T10:00"}', "start"),
        ('{"override": {"reason": "a", "reason": "b"}}', "reason"),
        ('{"notes": "a", "no\\u0074es": "b"}', "notes"),
    ],
)
async def test_a_name_stands_once(
    client: httpx.AsyncClient, services: Services, content: str, field: str
) -> None:
    """A body with a name twice in one object is refused by that name: which one counts would be a guess."""
    answer = await client.post(APPOINTMENTS, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["details"]["violations"]] == [field]
    assert services.requests == []


@pytest.mark.parametrize("value", ["unspecified", "APPOINTMENT_STATUS_UNSPECIFIED"])
async def test_a_parameter_names_a_value(client: httpx.AsyncClient, services: Services, value: str) -> None:
    """The enum value that stands for none is no parameter's value."""
    answer = await client.get(f"{APPOINTMENTS}?status={value}")
    assert answer.status_code == 400
    (violation,) = answer.json()["details"]["violations"]
    assert violation["field"] == "status"
    assert "unspecified" not in violation["description"]
    assert services.requests == []


async def test_a_hold_s_token_may_be_a_header(client: httpx.AsyncClient, services: Services) -> None:
    """The token travels in a header, and in no address; two different ones are refused, and so is one nobody takes."""
    services.answers("SearchSlots", availability_pb2.SearchSlotsResponse())
    token = {"Hold-Token": "secret-of-a-hold"}
    assert (await client.get(AVAILABILITY, params=SEARCH, headers=token)).status_code == 200
    (request,) = services.requests
    assert isinstance(request, availability_pb2.SearchSlotsRequest)
    assert request.hold_token == "secret-of-a-hold"
    for path, more in ((AVAILABILITY, SEARCH | {"holdToken": "other"}), (APPOINTMENTS, {})):
        refused = await client.get(path, params=more, headers=token)
        assert refused.status_code == 400
        assert refused.json()["details"]["violations"][0]["field"] == "Hold-Token"


async def test_the_clinic_is_spelled_in_either_case(client: httpx.AsyncClient, services: Services) -> None:
    """An upper-case id in the address is the token's clinic, for the gateway and the service alike."""
    services.answers("GetAppointment", booking_pb2.GetAppointmentResponse(appointment=appointment()))
    answer = await client.get(f"/v1/clinics/{CLINIC.upper()}/appointments/{APPOINTMENT}")
    assert answer.status_code == 200, answer.text


async def test_what_caches_keep_tells_of_nobody(start_gateway: StartGateway, services: Services) -> None:
    """A publicly cacheable answer has no rate headers; its refusals have, and are not kept."""
    client = await start_gateway(MEDFORALL_RATE_LIMIT="on", MEDFORALL_REDIS_URL="redis://127.0.0.1:1/0")
    del client.headers["authorization"]
    path = f"/v1/clinics/{CLINIC}/public"
    closed = await client.get(path)
    assert "x-ratelimit-limit" in closed.headers
    services.answers("GetPublicClinic", directory_pb2.GetPublicClinicResponse(clinic_id=CLINIC))
    client = await start_gateway(MEDFORALL_RATE_LIMIT="on", MEDFORALL_REDIS_URL="redis://127.0.0.1:1/0")
    del client.headers["authorization"]
    answer = await client.get(path)
    assert answer.headers["cache-control"].startswith("public")
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_patients_are_searched_in_a_body(
    client: httpx.AsyncClient, services: Services, token: Callable[..., str]
) -> None:
    """What is searched for may stand in the body of a POST instead of an address, and is not kept."""
    services.answers("ListPatients", directory_pb2.ListPatientsResponse())
    answer = await client.post(
        f"/v1/clinics/{CLINIC}/patients:search",
        json={"phone": "+15551234567"},
        headers={"authorization": f"Bearer {token(scopes=['read:phi'])}"},
    )
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    (request,) = services.requests
    assert isinstance(request, directory_pb2.ListPatientsRequest)
    assert request.phone == "+15551234567"
