"""`medforall access revoke` on a running suite: every process refuses the user within the promised minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest
from medforall.availability.v1 import availability_pb2, availability_pb2_grpc
from medforall.booking.v1 import booking_pb2, booking_pb2_grpc
from medforall.directory.v1 import directory_pb2, directory_pb2_grpc
from medforall.realtime.v1 import realtime_pb2, realtime_pb2_grpc

from ctl.run_file import DemoFacts, RunFile
from tests.support.command import medforall
from tests.support.suites import home_of
from tests.support.waiting import wait_until

BOUND_S = 60.0
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED.name


def outcome(call: Callable[[], Any]) -> str:
    """The name of a call's code."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def everywhere(suite: RunFile, demo: DemoFacts, token: str) -> dict[str, str]:
    """What the gateway and every service say to the token, by name."""
    metadata = (("authorization", f"Bearer {token}"),)
    path = f"/v1/clinics/{demo.clinic_id}"
    rest = httpx.get(f"{suite.gateway_url}{path}", headers={"authorization": f"Bearer {token}"}, timeout=20)
    calls: dict[str, tuple[str, Callable[[grpc.Channel], Any], Any]] = {
        "booking": (
            "booking",
            lambda channel: booking_pb2_grpc.BookingServiceStub(channel).ListAppointments,
            booking_pb2.ListAppointmentsRequest(clinic_id=demo.clinic_id),
        ),
        "directory": (
            "booking",
            lambda channel: directory_pb2_grpc.DirectoryServiceStub(channel).GetClinic,
            directory_pb2.GetClinicRequest(clinic_id=demo.clinic_id),
        ),
        "availability": (
            "availability",
            lambda channel: availability_pb2_grpc.AvailabilityServiceStub(channel).FindNextAvailable,
            availability_pb2.FindNextAvailableRequest(
                clinic_id=demo.clinic_id, service_id=demo.service_id, location_ids=[demo.location_id]
            ),
        ),
        "realtime": (
            "realtime",
            lambda channel: realtime_pb2_grpc.RealtimeServiceStub(channel).GetPresence,
            realtime_pb2.GetPresenceRequest(clinic_id=demo.clinic_id),
        ),
    }
    said = {"REST": str(rest.status_code)}
    for name, (target, method, request) in calls.items():
        with grpc.insecure_channel(suite.grpc[target]) as channel:
            said[name] = outcome(lambda: method(channel)(request, metadata=metadata, timeout=10))  # noqa: B023
    return said


@pytest.fixture
def token(suite: RunFile, demo: DemoFacts) -> str:
    """A token of a user whom nobody else in these tests is."""
    home = str(home_of(suite).path)
    done = medforall(
        "token", "--clinic", demo.clinic_id, "--role", "front_desk", "--subject", "leaver", "--home", home
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_a_user_who_left_is_refused_everywhere(suite: RunFile, demo: DemoFacts, token: str) -> None:
    """REST is 401 and each service UNAUTHENTICATED within a minute of the command; after restore all serve again."""
    served = {name: "200" if name == "REST" else "OK" for name in everywhere(suite, demo, token)}
    refused = {name: "401" if name == "REST" else UNAUTHENTICATED for name in served}
    assert everywhere(suite, demo, token) == served
    for order, wanted in (("revoke", refused), ("restore", served)):
        done = medforall(
            "access",
            order,
            "--clinic",
            demo.clinic_id,
            "--user",
            "leaver",
            "--home",
            str(home_of(suite).path),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told_s = time.monotonic()
        wait_until(
            lambda wanted=wanted: everywhere(suite, demo, token) == wanted,  # type: ignore[misc]
            timeout_s=BOUND_S,
            what=f"every process to hear of the {order}",
        )
        assert time.monotonic() - told_s < BOUND_S
