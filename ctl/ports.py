"""Ports on 127.0.0.1: free ones, or a clear word that a wanted one is taken.

Between the choice of a port and the moment its server binds it lie seconds. So a chosen port is locked, by a file of
its own, until the process that chose it ends: two suites that start at once never choose the same.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ctl.failures import PortTakenError

LOOPBACK = "127.0.0.1"
# Below the range that kernels hand to outgoing connections (Linux 32768, others 49152), so that a port that
# was free when it was chosen is still free when the server binds it.
_LOWEST, _HIGHEST = 20_000, 32_000
_ATTEMPTS_MAX = 500
_locks: dict[int, int] = {}  # the open file of each port that this process has locked


def is_free(port: int) -> bool:
    """Whether a server could bind `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT after a restart is free, one with a listener is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(*, taken: Iterable[int] = (), rng: random.Random | None = None) -> int:
    """A port nobody listens on and that is not in `taken`."""
    avoid, pick = set(taken), rng or random.SystemRandom()
    for _ in range(_ATTEMPTS_MAX):
        port = pick.randrange(_LOWEST, _HIGHEST)
        if port not in avoid and port not in _locks and is_free(port) and _is_ours(port):
            return port
    raise PortTakenError(f"No free port was found between {_LOWEST} and {_HIGHEST} on {LOOPBACK}.")


def demand(port: int, purpose: str) -> int:
    """Give `port` back when it is free; else raise `PortTakenError`, naming what it was for."""
    if not 0 < port < 65_536:
        raise PortTakenError(f"Port {port} for {purpose} is not a port number (1 to 65535).")
    if not is_free(port):
        raise PortTakenError(
            f"Port {port} for {purpose} is taken by another program.",
            hint="Choose another one with --port, or leave it out and a free one is chosen.",
        )
    return port


def choose(names: Iterable[str], *, wanted: dict[str, int], remembered: dict[str, int]) -> dict[str, int]:
    """A port for each name: the wanted one (it must be free), else last time's, else any free one."""
    chosen: dict[str, int] = {name: demand(port, name) for name, port in wanted.items()}
    for name in names:
        if name in chosen:
            continue
        last = remembered.get(name, 0)
        reusable = 0 < last < 65_536 and last not in chosen.values() and is_free(last) and _is_ours(last)
        chosen[name] = last if reusable else free_port(taken=[*chosen.values(), *remembered.values()])
    return chosen


def _is_ours(port: int) -> bool:
    """Lock a port for as long as this process lives; False when another process has chosen it already."""
    if port in _locks:
        return True
    try:
        descriptor = os.open(_folder() / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return True  # nowhere to write: the port is only as safe as it was found
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _locks[port] = descriptor
    return True


def _folder() -> Path:
    """Where this user's processes lock their ports."""
    folder = Path(tempfile.gettempdir()) / f"medforall-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
