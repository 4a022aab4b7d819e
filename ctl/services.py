"""The four service processes: how each is started and how it says that it is ready."""

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ctl.certs import AUTHORITY, CLIENT, Pair
from ctl.ports import LOOPBACK
from ctl.processes import ProcessSpec
from ctl.readiness import grpc_serving, http_ok
from ctl.run_file import TlsFacts

GRPC_SERVICES = ("booking", "availability", "realtime")
SERVICES = (*GRPC_SERVICES, "gateway")
PORT_NAMES = (*SERVICES, *(f"{name}-metrics" for name in SERVICES))
_MODULES = {
    "booking": "booking_svc",
    "availability": "availability_svc",
    "realtime": "realtime_svc",
    "gateway": "gateway",
}
_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ServiceEnvironment:
    """What the services of one suite have in common; with certificates, they speak TLS only."""

    ports: Mapping[str, int]
    app_database_url: str
    worker_database_url: str
    redis_url: str
    nats_url: str
    jwks: Path
    master_key_file: Path
    gateway_token_file: Path
    logs: Path
    certificates: Mapping[str, Pair] | None = None

    def grpc_target(self, service: str) -> str:
        """host:port of a gRPC service."""
        return f"{LOOPBACK}:{self.ports[service]}"

    def metrics_target(self, service: str) -> str:
        """host:port where a service's metrics are read."""
        return f"{LOOPBACK}:{self.ports[f'{service}-metrics']}"

    @property
    def gateway_url(self) -> str:
        return f"{'https' if self.certificates else 'http'}://{LOOPBACK}:{self.ports['gateway']}"

    @property
    def tls(self) -> TlsFacts | None:
        """What a client needs; None without TLS."""
        if self.certificates is None:
            return None
        client = self.certificates[CLIENT]
        return TlsFacts(
            ca_file=str(self.certificates[AUTHORITY].certificate_file),
            certificate_file=str(client.certificate_file),
            key_file=str(client.key_file),
        )

    def spec(self, service: str) -> ProcessSpec:
        """The process of one service."""
        return ProcessSpec(
            name=service,
            argv=[sys.executable, "-m", _MODULES[service]],
            env=self._variables(service),
            cwd=_PROJECT,
            log_path=self.logs / f"{service}.log",
            is_ready=self._readiness(service),
            stop_timeout_s=20,
        )

    def _readiness(self, service: str) -> Callable[[], bool]:
        if service in GRPC_SERVICES:
            return functools.partial(grpc_serving, self.grpc_target(service), self.tls)
        return functools.partial(http_ok, f"{self.gateway_url}/healthz", self.tls)

    def _variables(self, service: str) -> dict[str, str | None]:
        """The environment of one service; each gets only what it needs. None removes what we inherited."""
        listen = "MEDFORALL_HTTP_LISTEN" if service == "gateway" else "MEDFORALL_GRPC_LISTEN"
        variables: dict[str, str | None] = {
            "MEDFORALL_DATABASE_URL": None,  # the owner's: a service never has it
            "PYTHONUNBUFFERED": "1",
            listen: self.grpc_target(service),
            "MEDFORALL_METRICS_LISTEN": self.metrics_target(service),
            "MEDFORALL_REDIS_URL": self.redis_url,
            "MEDFORALL_NATS_URL": self.nats_url,
            "MEDFORALL_JWKS": str(self.jwks),
        }
        if service == "gateway":
            variables["MEDFORALL_REALTIME_TOKEN_FILE"] = str(self.gateway_token_file)
        else:
            variables["MEDFORALL_APP_DATABASE_URL"] = self.app_database_url
            variables["MEDFORALL_WORKER_DATABASE_URL"] = self.worker_database_url
            variables["MEDFORALL_MASTER_KEY_FILE"] = str(self.master_key_file)
        for name in GRPC_SERVICES:
            variables[f"MEDFORALL_{name.upper()}_TARGET"] = self.grpc_target(name)
        return variables | self._tls_variables(service)

    def _tls_variables(self, service: str) -> dict[str, str]:
        if self.certificates is None:
            return {}
        pair = self.certificates[service]
        demand = "MEDFORALL_HTTP_TLS" if service == "gateway" else "MEDFORALL_TLS_REQUIRE_CLIENT_CERT"
        return {
            "MEDFORALL_TLS_CA_FILE": str(self.certificates[AUTHORITY].certificate_file),
            "MEDFORALL_TLS_CERT_FILE": str(pair.certificate_file),
            "MEDFORALL_TLS_KEY_FILE": str(pair.key_file),
            demand: "on",
        }
