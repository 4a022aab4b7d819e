"""Where a call really comes from: the address that a trusted peer tells, else the peer's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote

CLIENT_ADDRESS = "x-client-address"
"""Metadata by which a gateway tells its client's address."""

_PEER = re.compile(r"ipv[46]:\[?(?P<host>[0-9A-Fa-f:.]+?)(%[^\]]*)?\]?:\d+")

Network = IPv4Network | IPv6Network


class CallerAddresses:
    """Tells clients' addresses. `trusted` are networks (`127.0.0.0/8`) whose hosts may speak for their clients.

    Raises ValueError for what is no network.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(network) for network in trusted)
        self._host_of = lru_cache(maxsize=4_096)(self._parsed)

    def of(self, peer: str, told: str | None) -> str | None:
        """The client's address; None when the peer has none, as over a Unix socket.

        `peer` is gRPC's word for it (`ipv4:127.0.0.1:5000`); `told` is believed from a trusted peer alone.
        """
        host, is_trusted = self._host_of(peer)
        if told and is_trusted:
            claimed = _address(told)
            if claimed is not None:
                return str(claimed)
        return host

    def _parsed(self, peer: str) -> tuple[str | None, bool]:
        found = _PEER.fullmatch(unquote(peer))
        address = _address(found["host"]) if found else None
        if address is None:
            return None, False
        return str(address), any(address in network for network in self._trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
