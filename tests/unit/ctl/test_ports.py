"""Ports: free, remembered or demanded."""

import random
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ctl import ports
from ctl.failures import PortTakenError
from tests.support.command import ROOT


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_last_times_port_is_used_again() -> None:
    """A port that is still free is kept, so that addresses stay the same between runs."""
    port = ports.free_port()
    assert ports.choose(["gateway"], wanted={}, remembered={"gateway": port}) == {"gateway": port}


def test_a_taken_port_of_last_time_gives_way(taken: int) -> None:
    """A remembered port that somebody else has now is replaced by a free one."""
    chosen = ports.choose(["gateway"], wanted={}, remembered={"gateway": taken})
    assert chosen["gateway"] != taken
    assert ports.is_free(chosen["gateway"])


def test_all_ports_differ() -> None:
    """No two processes get the same port, even when chance offers it."""

    class Same(random.Random):
        def randrange(self, *_: object, **__: object) -> int:
            self.calls = getattr(self, "calls", 0) + 1
            return 20_000 + self.calls // 3

    rng = Same()
    first = ports.free_port(rng=rng)
    assert ports.free_port(taken=[first], rng=rng) != first
    names = [f"service-{number}" for number in range(20)]
    chosen = ports.choose(names, wanted={}, remembered={})
    assert len(set(chosen.values())) == len(names)


def test_a_port_chosen_elsewhere_is_not_chosen_again() -> None:
    """What another process has chosen and not bound yet is left to it, and is free again when it has ended."""
    script = "from ctl import ports; print(ports.free_port(), flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        port = int(other.stdout.readline())

        class Same(random.Random):
            def randrange(self, *_: object, **__: object) -> int:
                self.next = getattr(self, "next", port - 1) + 1
                return self.next

        assert ports.is_free(port)
        assert ports.free_port(rng=Same()) != port
        assert ports.choose(["gateway"], wanted={}, remembered={"gateway": port})["gateway"] != port
        other.communicate("\n", timeout=10)
    assert ports.choose(["gateway"], wanted={}, remembered={"gateway": port}) == {"gateway": port}


def test_a_wanted_port_that_is_taken_is_refused(taken: int) -> None:
    """The refusal names the port and its purpose."""
    with pytest.raises(PortTakenError, match=f"Port {taken} for gateway is taken"):
        ports.choose(["gateway"], wanted={"gateway": taken}, remembered={})


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    """Only 1 to 65535 are ports."""
    with pytest.raises(PortTakenError, match="not a port number"):
        ports.demand(port, "gateway")
