"""Random operations of all kinds on PostgreSQL, step by step beside a model that knows only intervals and states.

A failing run prints the steps and the seed that repeat it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from medforall.booking.v1 import appointment_pb2, booking_pb2_grpc
from medforall.booking.v1 import booking_pb2 as pb

from tests.integration.booking.conftest import Suite
from tests.support.invariants import query
from tests.support.practice import Practice, at, new_id

EXAMPLES, STEPS = 30, 50
TAKEN, REFUSED = "ALREADY_EXISTS", "FAILED_PRECONDITION"

PLACES = st.integers(0, 11)
WHO = st.integers(0, 1)
PATIENTS = st.integers(0, 2)
LENGTHS = st.sampled_from([30, 60])


@dataclass(frozen=True)
class Visit:
    """What the model remembers: quarter hours, ids and a state."""

    id: str
    start: int
    end: int
    provider: str
    room: str
    patient: str
    state: str
    token: str = ""

    def overlaps(self, start: int, end: int) -> bool:
        return self.start < end and self.end > start


LIVE = {"held", "scheduled", "confirmed", "checked_in", "in_progress"}
STEPS_OF = {
    "ConfirmAppointment": ({"scheduled"}, "confirmed"),
    "CheckInAppointment": ({"scheduled", "confirmed"}, "checked_in"),
    "StartAppointment": ({"checked_in"}, "in_progress"),
    "MarkNoShow": ({"scheduled", "confirmed", "checked_in"}, "no_show"),
    "CancelAppointment": ({"scheduled", "confirmed"}, "canceled"),
}


class BookingModel(RuleBasedStateMachine):
    """A clinic of two doctors, one room and three patients, on one morning."""

    visits = Bundle("visits")
    suite: Suite

    def __init__(self) -> None:
        super().__init__()
        self.practice: Practice = self.suite.practice(providers=2, rooms=1, patients=3)
        self.rooms = set(self.practice.rooms)
        self.known: dict[str, Visit] = {}
        self.channel = grpc.insecure_channel(
            self.suite.targets[0], options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub: Any = booking_pb2_grpc.BookingServiceStub(self.channel)
        token = self.suite.keys.token(self.practice.clinic)
        self.metadata = [("authorization", f"Bearer {token}")]

    def teardown(self) -> None:
        self.channel.close()

    def call(self, method: str, **fields: Any) -> tuple[Any, str]:
        request = getattr(pb, f"{method}Request")(
            clinic_id=self.practice.clinic, idempotency_key=new_id(), **fields
        )
        try:
            return getattr(self.stub, method)(request, metadata=self.metadata, timeout=20), "OK"
        except grpc.RpcError as error:
            return None, error.code().name

    def expected(self, start: int, length: int, provider: str, patient: str, but: str = "") -> str:
        """OK, or that something is taken."""
        end = start + length // 15
        near = [
            visit
            for visit in self.known.values()
            if visit.id != but and visit.state in LIVE and visit.overlaps(start, end)
        ]
        if any(visit.provider == provider or (patient and visit.patient == patient) for visit in near):
            return TAKEN
        return "OK" if self.rooms - {visit.room for visit in near} else TAKEN

    def remember(self, reply: Any, token: str = "") -> Visit:
        visit = reply.appointment
        state = (
            appointment_pb2.AppointmentStatus.Name(visit.status).removeprefix("APPOINTMENT_STATUS_").lower()
        )
        found = Visit(
            visit.id,
            _quarter(visit.start),
            _quarter(visit.end),
            visit.provider_id,
            visit.room_id,
            visit.patient_id,
            state,
            token,
        )
        self.known[visit.id] = found
        return found

    @rule(target=visits, place=PLACES, length=LENGTHS, who=WHO, patient=PATIENTS)
    def book(self, place: int, length: int, who: int, patient: int) -> str:
        wanted = {"provider_id": self.practice.providers[who], "patient_id": self.practice.patients[patient]}
        expected = self.expected(place, length, *wanted.values())
        reply, found = self.call("CreateAppointment", **wanted, **self._time(place, length))
        assert found == expected
        return self.remember(reply).id if reply else ""

    @rule(target=visits, place=PLACES, length=LENGTHS, who=WHO)
    def hold(self, place: int, length: int, who: int) -> str:
        provider = self.practice.providers[who]
        expected = self.expected(place, length, provider, "")
        reply, found = self.call("CreateHold", provider_id=provider, **self._time(place, length))
        assert found == expected
        return self.remember(reply, reply.hold_token).id if reply else ""

    @rule(visit=visits, patient=PATIENTS)
    def confirm_hold(self, visit: str, patient: int) -> None:
        known = self.known.get(visit)
        if known is None or not known.token:
            return
        who = self.practice.patients[patient]
        length = (known.end - known.start) * 15
        is_free = self.expected(known.start, length, known.provider, who, but=visit)
        expected = is_free if known.state == "held" else REFUSED
        reply, found = self.call("ConfirmHold", hold_id=visit, hold_token=known.token, patient_id=who)
        assert found == expected
        if reply:
            assert self.remember(reply, known.token).room == known.room

    @rule(visit=consumes(visits))
    def release_hold(self, visit: str) -> None:
        known = self.known.get(visit)
        if known is None or not known.token:
            return
        reply, found = self.call("ReleaseHold", hold_id=visit, hold_token=known.token)
        assert found == ("OK" if known.state == "held" else REFUSED)
        if reply:
            self.remember(reply)

    @rule(visit=visits, place=PLACES, who=WHO)
    def move(self, visit: str, place: int, who: int) -> None:
        known = self.known.get(visit)
        if known is None:
            return
        provider, length = self.practice.providers[who], (known.end - known.start) * 15
        expected = REFUSED
        if known.state in {"held", "scheduled", "confirmed"}:
            expected = self.expected(place, length, provider, known.patient, but=visit)
        start = self._time(place, length)["start"]
        reply, found = self.call(
            "RescheduleAppointment", appointment_id=visit, start=start, provider_id=provider
        )
        assert found == expected
        if reply:
            moved = self.remember(reply, known.token)
            assert moved.state == ("held" if known.state == "held" else "scheduled")

    @rule(visit=visits, method=st.sampled_from(sorted(STEPS_OF)))
    def step(self, visit: str, method: str) -> None:
        known = self.known.get(visit)
        if known is None:
            return
        allowed, then = STEPS_OF[method]
        _, found = self.call(method, appointment_id=visit)
        assert found == ("OK" if known.state in allowed else REFUSED)
        if found == "OK":
            self.known[visit] = replace(known, state=then)

    @invariant()
    def claims_are_those_of_live_visits(self) -> None:
        """Each live visit claims its provider, its room and its patient at its time, and nothing else is claimed."""
        rows = query(
            self.suite.database.owner_url,
            """SELECT appointment_id::text, resource_id::text,
                      (extract(epoch FROM starts_at)::bigint / 900 %% 96)::int,
                      (extract(epoch FROM ends_at)::bigint / 900 %% 96)::int
               FROM claim WHERE clinic_id = %s""",
            self.practice.clinic,
        )
        expected = {
            (visit.id, resource, visit.start + 32, visit.end + 32)
            for visit in self.known.values()
            if visit.state in LIVE
            for resource in (visit.provider, visit.room, visit.patient)
            if resource
        }
        assert set(rows) == expected

    def _time(self, place: int, length: int) -> dict[str, str]:
        """The n-th quarter of an hour after eight."""
        end = place + length // 15
        practice = self.practice
        return {
            "service_id": practice.service,
            "location_id": practice.location,
            "start": at(8 + place // 4, place % 4 * 15),
            "end": at(8 + end // 4, end % 4 * 15),
        }


def _quarter(local: str) -> int:
    """Quarter hours after eight of `2026-02-20T09:00:00+00:00`."""
    return (int(local[11:13]) - 8) * 4 + int(local[14:16]) // 15


@pytest.mark.slow
def test_the_service_does_what_the_model_does(suite: Suite) -> None:
    """1,500 random steps: every answer is the model's, and the claims are those of the visits that live."""
    machine = type("BookingModelOnServers", (BookingModel,), {"suite": suite})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
