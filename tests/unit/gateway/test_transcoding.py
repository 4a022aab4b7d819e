"""Routes, names and client addresses: the pure parts of the gateway."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from medforall.booking.v1 import appointment_pb2, booking_pb2
from medforall.type.v1 import reason_pb2

from chassis.config import ConfigError
from gateway.clients import ClientAddresses
from gateway.transcoding.bindings import UnsupportedBinding, bindings_of, parse_template
from gateway.transcoding.names import enum_names, enum_numbers
from gateway.transcoding.query import parse_query
from gateway.transcoding.router import Found, Router, WrongMethod

BINDINGS = bindings_of([booking_pb2.DESCRIPTOR.services_by_name["BookingService"]])
ROUTER = Router([(binding, binding.rpc.name) for binding in BINDINGS])


@pytest.mark.parametrize(
    ("method", "path", "rpc", "variables"),
    [
        ("GET", "/v1/clinics/c/appointments", "ListAppointments", {"clinic_id": "c"}),
        ("POST", "/v1/clinics/c/appointments", "CreateAppointment", {"clinic_id": "c"}),
        (
            "PATCH",
            "/v1/clinics/c/appointments/a",
            "UpdateAppointment",
            {"clinic_id": "c", "appointment_id": "a"},
        ),
        (
            "POST",
            "/v1/clinics/c/appointments/a:cancel",
            "CancelAppointment",
            {"clinic_id": "c", "appointment_id": "a"},
        ),
        (
            "POST",
            "/v1/clinics/c/appointments/a%3Acancel",
            "CancelAppointment",
            {"clinic_id": "c", "appointment_id": "a"},
        ),
        ("POST", "/v1/clinics/c%2Fd/holds/h:renew", "RenewHold", {"clinic_id": "c/d", "hold_id": "h"}),
    ],
)
def test_routes(method: str, path: str, rpc: str, variables: dict[str, str]) -> None:
    """A request finds its RPC by segments, custom method and HTTP method; variables are decoded after the split."""
    assert ROUTER.find(method, path) == Found(rpc, variables)


@pytest.mark.parametrize(
    "path", ["/", "/v1/clinics", "/v1/clinics//appointments", "/v1/clinics/c/appointments/a:boil", "/a" * 40]
)
def test_unknown_paths(path: str) -> None:
    """What no contract routes is nothing, however long."""
    assert ROUTER.find("GET", path) is None


def test_other_methods_are_named() -> None:
    """A known path with another method says which methods there are."""
    assert ROUTER.find("DELETE", "/v1/clinics/c/appointments") == WrongMethod(("GET", "POST"))


@pytest.mark.parametrize("template", ["v1/x", "/v1/{x=**}", "/v1/x{id}", "/v1/*"])
def test_templates_beyond_the_supported(template: str) -> None:
    """A path template that the gateway cannot serve is refused with the RPC's name."""
    with pytest.raises(UnsupportedBinding, match=r"Some\.Rpc"):
        parse_template("Some.Rpc", template)


def test_enum_spelling() -> None:
    """Values are lower case without prefix, and the contract's own name is understood; reasons stay in capitals."""
    status = appointment_pb2.AppointmentStatus.DESCRIPTOR
    assert enum_names(status)[8] == "no_show"
    assert enum_numbers(status)["no_show"] == enum_numbers(status)["APPOINTMENT_STATUS_NO_SHOW"] == 8
    assert enum_names(reason_pb2.ErrorReason.DESCRIPTOR)[10] == "SLOT_ALREADY_BOOKED"


@pytest.mark.parametrize(
    "raw", [b"", b"a=1&b=2", b"a=1&a=2&b", b"a=x%20y&b=1+2", b"a=%F0%9F%92%A9", b"&&a==&"]
)
def test_queries_are_read_alike_on_both_ways(raw: bytes) -> None:
    """The short way for queries without encoding reads what the library reads."""
    expected: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw.decode(), keep_blank_values=True):
        expected.setdefault(name, []).append(value)
    assert parse_query(raw) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.1"),
    ],
)
def test_client_address(peer: str, forwarded: str | None, client: str) -> None:
    """Only a trusted proxy's word counts, read from its end, up to the first address that is not a proxy's."""
    assert ClientAddresses(["10.0.0.0/8"]).of(peer, forwarded) == client


def test_malformed_proxies() -> None:
    """A network that is none stops the process with the variable's name."""
    with pytest.raises(ConfigError, match="MEDFORALL_TRUSTED_PROXIES"):
        ClientAddresses(["10.0.0.0/99"])
