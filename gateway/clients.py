"""The address of the client, as far as it can be believed."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from chassis.config import ConfigError

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network
_HOPS_MAX = 20


class ClientAddresses:
    """Finds the client behind trusted proxies.

    `X-Forwarded-For` is read from its end: the last address that is not a trusted proxy is the client. A
    client that writes the header itself only adds to its beginning.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        try:
            self._trusted = tuple(ip_network(network, strict=False) for network in trusted)
        except ValueError as error:
            raise ConfigError(f"MEDFORALL_TRUSTED_PROXIES is malformed: {error}.") from error

    def of(self, peer: str, forwarded_for: str | None) -> str:
        """The client's address, given the peer of the connection and the header."""
        if forwarded_for is None or not self._trusted or not self._is_trusted(_parse(peer)):
            return peer
        hops = forwarded_for.split(",")
        for hop in reversed(hops[-_HOPS_MAX:]):
            address = _parse(hop.strip())
            if address is None:
                return peer
            if not self._is_trusted(address):
                return str(address)
        return peer

    def _is_trusted(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def network_of(client: str) -> str:
    """What counts as one client: an address, of IPv6 the /64 that one household or host has to itself."""
    address = _parse(client)
    if not isinstance(address, IPv6Address):
        return client
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False).network_address)


def _parse(text: str) -> _Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
