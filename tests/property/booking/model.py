"""The state machine: each rule asks the service for something, and the model what the answer must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, precondition, rule
from medforall.booking.v1 import appointment_pb2
from medforall.booking.v1 import booking_pb2 as pb

from tests.oracle import booking as oracle
from tests.property.booking.clockwork import FIRST_HOUR, JUMP_MIN, JUMPS, MIDNIGHT, Clockwork, new_clinic
from tests.support.practice import new_id

OPENS = 8 * 60
_TOO_LATE = {
    "UpdateAppointment": {"notes": "late"},
    "RescheduleAppointment": {"start": MIDNIGHT.replace(hour=9, tzinfo=None).isoformat()},
}
PLACES = st.integers(0, 15)
WHO, ROOMS = st.integers(0, 2), st.sampled_from([None, None, 0, 1])
PATIENTS = st.integers(0, 2)
LENGTHS = st.sampled_from([30, 60])
SERVICES = st.sampled_from(["visit", "visit", "scan"])
METHODS = st.sampled_from(sorted(oracle.STEPS))
TTLS_S = st.sampled_from([300, 600, 900])

ROWS = """
SELECT coalesce((SELECT json_agg(json_build_array(appointment_id, resource_id, unit,
                         extract(epoch FROM starts_at - %(day)s) / 60, extract(epoch FROM ends_at - %(day)s) / 60))
                 FROM claim WHERE clinic_id = %(clinic)s), '[]'),
       coalesce((SELECT json_agg(json_build_array(id, status, version)) FROM appointment
                 WHERE clinic_id = %(clinic)s AND start_ts_utc >= %(day)s
                   AND start_ts_utc < %(day)s + interval '1 day'), '[]')
"""
EVENTS = """
SELECT aggregate_id::text, array_agg(aggregate_version ORDER BY id) FROM outbox_event
WHERE clinic_id = %s GROUP BY aggregate_id
"""


class BookingModel(RuleBasedStateMachine):
    """One morning of one clinic; the minutes count from its midnight."""

    visits = Bundle("visits")
    holds = Bundle("holds")
    running: Clockwork

    def __init__(self) -> None:
        super().__init__()
        self.practice, clinic = new_clinic(self.running)
        self.bookings = oracle.Bookings(clinic, FIRST_HOUR * 60)
        self.jumps = 0
        self.metadata = [("authorization", f"Bearer {self.running.keys.token(self.practice.clinic)}")]
        self.last: tuple[str, Any, Any, str] | None = None

    def teardown(self) -> None:
        """Each visit has one event for each of its versions, in order."""
        found = dict(self.running.owner.execute(EVENTS, (self.practice.clinic,)).fetchall())
        expected = {id_: list(range(1, visit.version + 1)) for id_, visit in self.bookings.visits.items()}
        assert found == expected

    # asking

    def call(self, method: str, **fields: Any) -> tuple[Any, str]:
        request = getattr(pb, f"{method}Request")(
            clinic_id=self.practice.clinic, idempotency_key=new_id(), **fields
        )
        reply, found = self._send(method, request)
        self.last = (method, request, reply, found)
        return reply, found

    def _send(self, method: str, request: Any) -> tuple[Any, str]:
        try:
            stub = self.running.stubs[self.jumps]
            return getattr(stub, method)(request, metadata=self.metadata, timeout=20), "OK"
        except grpc.RpcError as error:
            return None, f"{error.code().name} {_reason(error)}"

    def wish(
        self, *, service: str, who: int, place: int, length: int, patient: str = "", room: int | None = None
    ) -> oracle.Wish:
        practice, start = self.practice, OPENS + 15 * place
        return oracle.Wish(
            service=practice.services[0 if service == "visit" else 1],
            provider=practice.providers[who],
            start=start,
            end=start + length,
            patient=patient,
            room=None if room is None else practice.rooms[room],
        )

    def ask(self, method: str, wish: oracle.Wish, **fields: Any) -> tuple[Any, str]:
        return self.call(
            method,
            service_id=wish.service,
            provider_id=wish.provider,
            location_id=self.practice.location,
            patient_id=wish.patient,
            start=_local(wish.start),
            end=_local(wish.end),
            room_id=wish.room or "",
            **fields,
        )

    def taken(self, reply: Any, wish: oracle.Wish, state: str, **known: Any) -> str:
        """Learn what was chosen, and hold it against what was free."""
        visit = reply.appointment
        assert (_minute(visit.start), _minute(visit.end), _state(visit)) == (wish.start, wish.end, state)
        claims, _ = self._rows()
        found = oracle.Visit(visit.id, wish, state, room=visit.room_id, version=visit.version, **known)
        self._sync(claims, but=visit.id)
        self.bookings.granted(found, claims.get(visit.id, frozenset()))
        return str(visit.id)

    # the rules

    @rule(
        target=visits, service=SERVICES, place=PLACES, length=LENGTHS, who=WHO, patient=PATIENTS, room=ROOMS
    )
    def book(self, *, service: str, place: int, length: int, who: int, patient: int, room: int | None) -> Any:
        wish = self.wish(
            service=service,
            who=who,
            place=place,
            length=length,
            patient=self.practice.patients[patient],
            room=room,
        )
        expected = self.bookings.expected(wish)
        reply, found = self.ask("CreateAppointment", wish)
        assert found in expected
        return self.taken(reply, wish, "scheduled") if reply else multiple()

    @rule(
        target=visits,
        service=SERVICES,
        place=PLACES,
        minutes=st.sampled_from([0, 7]),
        who=WHO,
        patient=PATIENTS,
    )
    def override(self, *, service: str, place: int, minutes: int, who: int, patient: int) -> Any:
        wish = self.wish(
            service=service, who=who, place=place, length=30, patient=self.practice.patients[patient]
        )
        wish = replace(wish, start=wish.start + minutes, end=wish.end + minutes)
        expected, broken = self.bookings.expected(wish, override=True), self.bookings.refusals(wish)
        reply, found = self.ask("CreateAppointment", wish, override_reason="urgent")
        assert found in expected
        if not reply:
            return multiple()
        assert set(reply.appointment.override.rules) == {reason.split()[1] for reason in broken}
        return self.taken(reply, wish, "scheduled")

    @rule(
        targets=(visits, holds),
        service=SERVICES,
        place=PLACES,
        length=LENGTHS,
        who=WHO,
        patient=st.sampled_from([None, None, 0, 1, 2]),
        ttl_s=TTLS_S,
    )
    def hold(
        self, *, service: str, place: int, length: int, who: int, patient: int | None, ttl_s: int
    ) -> Any:
        whom = "" if patient is None else self.practice.patients[patient]
        wish = self.wish(service=service, who=who, place=place, length=length, patient=whom)
        expected = self.bookings.expected(wish)
        reply, found = self.ask("CreateHold", wish, ttl_seconds=ttl_s)
        assert found in expected
        if not reply:
            return multiple()
        expires = self.bookings.now + ttl_s // 60
        return self.taken(reply, wish, "held", token=reply.hold_token, expires=expires)

    @rule(hold=holds, patient=PATIENTS)
    def confirm_hold(self, hold: str, patient: int) -> None:
        known = self.bookings.visits[hold]
        whom = known.wish.patient or self.practice.patients[patient]
        wish = replace(known.wish, patient=whom, room=known.room or None)
        expected = self._hold_refusals(known)
        if not expected and not known.wish.patient:
            expected = self.bookings.refusals(wish, but=hold, override=True)
            if self.bookings.exceeds_limit(wish, hold):
                expected |= {oracle.PATIENT_LIMIT}
        reply, found = self.call("ConfirmHold", hold_id=hold, hold_token=known.token, patient_id=whom)
        assert found in (expected or oracle.OK)
        if reply:
            assert reply.appointment.version == known.version + 1
            self.taken(reply, replace(wish, room=known.wish.room), "scheduled", token=known.token)
            assert known.claims <= self.bookings.visits[hold].claims, "a confirmed hold keeps what it held"

    @rule(hold=holds, ttl_s=TTLS_S)
    def renew_hold(self, hold: str, ttl_s: int) -> None:
        expected = self._hold_refusals(self.bookings.visits[hold])
        token = self.bookings.visits[hold].token
        reply, found = self.call("RenewHold", hold_id=hold, hold_token=token, ttl_seconds=ttl_s)
        assert found in (expected or oracle.OK)
        if reply:
            self.bookings.step(hold, "held", expires=self.bookings.now + ttl_s // 60)

    @rule(hold=holds)
    def release_hold(self, hold: str) -> None:
        known = self.bookings.visits[hold]
        expected = self._hold_refusals(known)
        reply, found = self.call("ReleaseHold", hold_id=hold, hold_token=known.token)
        assert found in (expected or oracle.OK)
        if reply:
            self.bookings.step(hold, "released")

    @rule(hold=holds, method=st.sampled_from(["ConfirmHold", "RenewHold", "ReleaseHold"]))
    def guess_a_token(self, hold: str, method: str) -> None:
        _, found = self.call(method, hold_id=hold, hold_token="x" * 20)
        assert found == oracle.WRONG_TOKEN

    @rule(visit=visits, place=PLACES, who=WHO)
    def move(self, visit: str, place: int, who: int) -> None:
        known, start = self.bookings.visits[visit], OPENS + 15 * place
        length = known.wish.end - known.wish.start
        wish = replace(known.wish, provider=self.practice.providers[who], start=start, end=start + length)
        expected = self.bookings.expected(wish, but=visit)
        if known.state not in {"held", "scheduled", "confirmed"}:
            expected = frozenset({oracle.INVALID_TRANSITION})
        elif self.bookings.has_lapsed(known):
            expected = frozenset({oracle.HOLD_EXPIRED})
        reply, found = self.call(
            "RescheduleAppointment", appointment_id=visit, start=_local(start), provider_id=wish.provider
        )
        assert found in expected
        if reply:
            assert reply.appointment.version == known.version + 1
            state = "held" if known.state == "held" else "scheduled"
            self.taken(reply, wish, state, token=known.token, expires=known.expires)

    @rule(visit=visits, method=METHODS)
    def step(self, visit: str, method: str) -> None:
        known = self.bookings.visits[visit]
        expected = self.bookings.may_step(visit, method)
        reply, found = self.call(method, appointment_id=visit, etag=_etag(known.version))
        assert found in expected
        if reply and known.state == "no_show":
            self.taken(reply, known.wish, "checked_in", token=known.token)
        elif reply:
            self.bookings.step(visit, oracle.STEPS[method][1])

    @rule(visit=visits, which=st.integers(0, 2))
    def step_on(self, visit: str, which: int) -> None:
        """A step that its state allows, so that visits come to their ends."""
        state = self.bookings.visits[visit].state
        allowed = sorted(method for method, (from_, _) in oracle.STEPS.items() if state in from_)
        if allowed:
            self.step(visit, allowed[which % len(allowed)])

    @rule(visit=visits, method=st.sampled_from([*oracle.STEPS, "UpdateAppointment", "RescheduleAppointment"]))
    def come_too_late(self, visit: str, method: str) -> None:
        older = _etag(self.bookings.visits[visit].version - 1)
        _, found = self.call(method, appointment_id=visit, etag=older, **_TOO_LATE.get(method, {}))
        assert found == oracle.STALE_ETAG

    @rule(visit=visits)
    def write_notes(self, visit: str) -> None:
        known = self.bookings.visits[visit]
        reply, found = self.call("UpdateAppointment", appointment_id=visit, notes="noted")
        assert (found, reply.appointment.notes) == ("OK", "noted")
        self.bookings.visits[visit] = replace(known, version=known.version + 1)

    @precondition(lambda self: self.last is not None)
    @rule()
    def ask_again(self) -> None:
        """The same call with its key is answered from memory, whatever has happened since."""
        assert self.last is not None
        method, request, reply, found = self.last
        if found.startswith(("ABORTED", "PERMISSION")):
            return
        again, heard = self._send(method, request)
        assert heard == found
        if reply:
            assert again.replayed
            assert again.appointment == reply.appointment

    @precondition(lambda self: self.jumps < JUMPS)
    @rule()
    def time_passes(self) -> None:
        """Every hold ends that was not renewed since the last time."""
        self.jumps += 1
        self.bookings.now += JUMP_MIN

    @invariant()
    def the_database_agrees(self) -> None:
        """Claims, states and versions are the model's, but that a hold that has ended may be expired already."""
        claims, rows = self._rows()
        self._sync(claims)
        standing = {id_: visit.claims for id_, visit in self.bookings.visits.items() if visit.claims}
        assert claims == standing
        assert rows == {id_: (visit.state, visit.version) for id_, visit in self.bookings.visits.items()}

    # seeing

    def _hold_refusals(self, known: oracle.Visit) -> frozenset[str]:
        if known.state == "expired" or self.bookings.has_lapsed(known):
            return frozenset({oracle.HOLD_EXPIRED})
        return frozenset() if known.state == "held" else frozenset({oracle.INVALID_TRANSITION})

    def _sync(self, claims: Mapping[str, frozenset[oracle.Claim]], but: str = "") -> None:
        """Whoever met a hold that had ended has expired it."""
        for visit in list(self.bookings.visits.values()):
            if visit.id != but and self.bookings.has_lapsed(visit) and visit.id not in claims:
                self.bookings.step(visit.id, "expired", expires=visit.expires)

    def _rows(self) -> tuple[dict[str, frozenset[oracle.Claim]], dict[str, tuple[str, int]]]:
        parameters = {"clinic": self.practice.clinic, "day": MIDNIGHT}
        row = self.running.owner.execute(ROWS, parameters, prepare=True).fetchone()
        assert row is not None
        claims: dict[str, frozenset[oracle.Claim]] = {}
        for visit, resource, unit, start, end in row[0]:
            claim = oracle.Claim(resource, unit, round(start), round(end))
            claims[visit] = claims.get(visit, frozenset()) | {claim}
        return claims, {visit: (state, version) for visit, state, version in row[1]}


def _reason(error: Any) -> str:
    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = error_details_pb2.ErrorInfo()
    for detail in Status.FromString(raw).details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    return str(info.reason)


def _state(visit: appointment_pb2.Appointment) -> str:
    return appointment_pb2.AppointmentStatus.Name(visit.status).removeprefix("APPOINTMENT_STATUS_").lower()


def _etag(version: int) -> str:
    return f'"{version}"'


def _local(minute: int) -> str:
    return (MIDNIGHT + timedelta(minutes=minute)).replace(tzinfo=None).isoformat()


def _minute(local: str) -> int:
    return int(local[11:13]) * 60 + int(local[14:16])
