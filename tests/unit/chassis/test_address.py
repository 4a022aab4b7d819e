"""Where calls come from."""

from __future__ import annotations

import pytest

from chassis.grpc.address import CallerAddresses

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("peer", "told", "found"),
    [
        ("ipv4:127.0.0.1:5000", "203.0.113.9", "203.0.113.9"),
        ("ipv6:%5B::1%5D:5000", "2001:db8::7", "2001:db8::7"),
        ("ipv4:127.0.0.1:5000", None, "127.0.0.1"),
        ("ipv4:127.0.0.1:5000", "no address'; --", "127.0.0.1"),
        ("ipv4:198.51.100.4:5000", "203.0.113.9", "198.51.100.4"),
        ("unix:/tmp/socket", "203.0.113.9", None),
    ],
)
def test_only_a_trusted_peer_speaks_for_its_client(peer: str, told: str | None, found: str | None) -> None:
    """A gateway's word is believed, a stranger's is not, and what is no address never passes."""
    assert CallerAddresses(LOOPBACK).of(peer, told) == found
