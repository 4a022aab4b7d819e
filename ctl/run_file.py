"""`<home>/run.json`: how to reach the suite that runs in a home. Scripts rely on its keys."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ctl.embedded.server import write_private
from ctl.failures import NotRunningError, disk_faults_told
from ctl.home import Home, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFacts:
    """Ids of the first demo clinic, for first steps and scripts."""

    clinic_id: str
    location_id: str
    timezone: str
    service_id: str
    provider_ids: list[str]
    patient_ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What a client of a suite with TLS needs, as absolute paths: whom to trust, and who it is itself."""

    ca_file: str
    certificate_file: str
    key_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """What is in `run.json`; URLs hold credentials, so the file is for its owner alone.

    `database_url` is the owner's (it sees all clinics); `grpc` and `metrics` map a service to host:port;
    `tls` is there when gateway and services speak TLS only.
    """

    gateway_url: str
    grpc: dict[str, str]
    metrics: dict[str, str]
    database_url: str
    redis_url: str
    nats_url: str
    pids: dict[str, int]
    tokens: dict[str, str]
    demo: DemoFacts | None
    nats_monitor_url: str = field(default="")
    tls: TlsFacts | None = field(default=None)

    def write(self, home: Home) -> None:
        """Put the file in place at once, mode 600."""
        with disk_faults_told(home.run_file):
            write_private(home.run_file, json.dumps(asdict(self), indent=2) + "\n")


def read_run_file(home: Home) -> RunFile:
    """What the suite in this home wrote; `NotRunningError` when none is ready there."""
    said = read_json(home.run_file)
    if not said or home.holder() is None:
        raise NotRunningError(f"No suite is running in {home.path}.", hint="Start one with: medforall up")
    return parse(said)


def shell_variables(facts: RunFile) -> dict[str, str]:
    """What the first steps of the documentation need, by the names that they use."""
    variables = {"GATEWAY": facts.gateway_url}
    variables |= {f"{name.upper()}_GRPC": target for name, target in facts.grpc.items()}
    if facts.tls:
        variables |= {
            "CURL_CA_BUNDLE": facts.tls.ca_file,  # curl reads it by itself
            "CA_FILE": facts.tls.ca_file,
            "CLIENT_CERT_FILE": facts.tls.certificate_file,
            "CLIENT_KEY_FILE": facts.tls.key_file,
        }
    if facts.demo:
        variables |= {
            "TOKEN": facts.tokens["admin"],
            "CLINIC": facts.demo.clinic_id,
            "LOCATION": facts.demo.location_id,
            "SERVICE": facts.demo.service_id,
            "PROVIDER": next(iter(facts.demo.provider_ids), ""),
            "PATIENT": next(iter(facts.demo.patient_ids), ""),
        }
    return variables


def parse(said: dict[str, Any]) -> RunFile:
    """A `RunFile` from its JSON object; unknown keys are left out, so that older scripts read newer files."""
    known = {name: value for name, value in said.items() if name in RunFile.__dataclass_fields__}
    demo, tls = known.pop("demo", None), known.pop("tls", None)
    return RunFile(**known, demo=DemoFacts(**demo) if demo else None, tls=TlsFacts(**tls) if tls else None)
