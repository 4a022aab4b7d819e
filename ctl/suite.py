"""The whole suite on one machine: servers, schema, demo data, services, in that order and back."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import psycopg

from chassis.auth.principal import Role
from ctl import demo, ports, readiness, secret_store
from ctl.certs import Pair, ensure_certificates
from ctl.embedded import EmbeddedNats, EmbeddedPostgres, EmbeddedServer, EmbeddedValkey
from ctl.embedded.server import write_private
from ctl.failures import ServerError, disk_faults_told
from ctl.home import Home, read_json
from ctl.key_store import KeyStore
from ctl.log_files import keep_small
from ctl.run_file import DemoFacts, RunFile
from ctl.services import GRPC_SERVICES, PORT_NAMES, SERVICES, ServiceEnvironment
from ctl.supervisor import Child, Reporter, Supervisor, end_strays
from database.migrate import SchemaError, migrate
from database.roles import APP_ROLE, WORKER_ROLE, enable_login, url_for
from scheduling.errors import Unavailable

PORTS = ("postgres", "nats", "nats-monitor", "valkey", *PORT_NAMES)
_DEMO_TOKEN_TTL_S = 30 * 86_400
_LOG_CHECK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GivenServers:
    """URLs of servers that are not ours; empty means: start one of our own."""

    database_url: str = ""
    redis_url: str = ""
    nats_url: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "GivenServers":
        """From MEDFORALL_DATABASE_URL, MEDFORALL_REDIS_URL and MEDFORALL_NATS_URL."""
        return cls(
            database_url=environment.get("MEDFORALL_DATABASE_URL", ""),
            redis_url=environment.get("MEDFORALL_REDIS_URL", ""),
            nats_url=environment.get("MEDFORALL_NATS_URL", ""),
        )

    def check(self) -> None:
        """Raise `ServerError` unless each given server can be used."""
        if self.database_url:
            readiness.check_postgres(self.database_url)
        if self.redis_url:
            readiness.check_redis(self.redis_url)
        if self.nats_url:
            readiness.check_nats(self.nats_url)


class View(Reporter, Protocol):
    """Where the suite tells of its steps."""

    def say(self, sentence: str) -> None:
        """A step of the start or the stop."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Servers:
    """How the three servers are reached, ours or given; `own` are ours to run."""

    database_url: str
    redis_url: str
    nats_url: str
    nats_monitor_url: str
    own: list[EmbeddedServer] = field(default_factory=list)


class Suite:
    """One suite in one home. The caller holds the home's lock for as long as it lives.

    `start`, then `watch` again and again, then `stop`; all from the same thread.
    """

    def __init__(
        self,
        home: Home,
        view: View,
        *,
        wanted_ports: Mapping[str, int],
        given: GivenServers,
        with_demo: bool = True,
        with_tls: bool = False,
    ) -> None:
        self._home = home
        self._view = view
        self._wanted_ports = dict(wanted_ports)
        self._given = given
        self._with_demo = with_demo
        self._with_tls = with_tls
        self._keys = KeyStore(home)
        self._supervisor = Supervisor(view, children_file=home.children_file, on_change=self._publish)
        self._run_file: Callable[[], RunFile] | None = None
        self._logs_checked_s = 0.0

    def start(self, *, go_on: Callable[[], bool]) -> RunFile | None:
        """Bring everything up and write `run.json`; None when `go_on` said no on the way.

        Raises `CtlError`; what was started by then is stopped by `stop`, which the caller calls in any case.
        """
        self._home.run_file.unlink(missing_ok=True)
        for name in end_strays(self._home.children_file):
            self._view.say(f"ended {name}, left by an earlier run")
        secrets = secret_store.load_or_create(self._home)
        self._keys.ensure()
        self._keys.write_gateway_token(now_s=int(time.time()))
        self._given.check()
        chosen = self._choose_ports()
        servers = self._servers(secrets, chosen)
        if servers.own:
            self._view.say(f"starting {', '.join(server.name for server in servers.own)}")
        self._supervisor.start([Child(server.name, server.prepare) for server in servers.own], go_on=go_on)
        if not go_on():
            return None
        seeded = self._prepare_database(servers.database_url, secrets)
        environment = self._environment(servers, secrets, chosen)
        self._view.say(f"starting {', '.join(SERVICES)}")
        self._supervisor.start(
            [_service(environment, name) for name in GRPC_SERVICES],
            [_service(environment, "gateway")],
            go_on=go_on,
        )
        if not go_on():
            return None
        if seeded:
            self._view.say("publishing the demo clinics' events")
            demo.await_published(servers.database_url, go_on=go_on)
        facts = demo.facts(servers.database_url)
        self._run_file = lambda: self._describe(servers, environment, facts)
        self._publish()
        return self._run_file()

    def watch(self) -> None:
        """One look at the children and, now and then, at the size of their logs."""
        self._supervisor.watch()
        if time.monotonic() - self._logs_checked_s > _LOG_CHECK_S:
            self._logs_checked_s = time.monotonic()
            for path in self._home.logs.glob("*.log"):
                keep_small(path)

    def stop(self) -> None:
        """Drain and stop everything, gateway first, the servers last."""
        self._home.run_file.unlink(missing_ok=True)
        self._supervisor.stop()

    def kill(self) -> None:
        """End everything at once; the next start finds all that was acknowledged."""
        self._home.run_file.unlink(missing_ok=True)
        self._supervisor.kill()

    def _choose_ports(self) -> dict[str, int]:
        chosen = ports.choose(
            PORTS, wanted=self._wanted_ports, remembered=_remembered_ports(read_json(self._home.ports_file))
        )
        with disk_faults_told(self._home.ports_file):
            write_private(self._home.ports_file, json.dumps(chosen, indent=2) + "\n")
        return chosen

    def _servers(self, secrets: secret_store.Secrets, chosen: Mapping[str, int]) -> _Servers:
        place, logs, given = self._home.path, self._home.logs, self._given
        postgres = EmbeddedPostgres(
            place / "postgres",
            port=chosen["postgres"],
            password=secrets.postgres,
            log_path=logs / "postgres.log",
        )
        nats = EmbeddedNats(
            place / "nats",
            port=chosen["nats"],
            monitor_port=chosen["nats-monitor"],
            password=secrets.nats,
            log_path=logs / "nats.log",
        )
        valkey = EmbeddedValkey(
            place / "valkey", port=chosen["valkey"], password=secrets.valkey, log_path=logs / "valkey.log"
        )
        choice = ((given.database_url, postgres), (given.nats_url, nats), (given.redis_url, valkey))
        own: list[EmbeddedServer] = [server for url, server in choice if not url]
        return _Servers(
            database_url=given.database_url or postgres.url,
            redis_url=given.redis_url or valkey.url,
            nats_url=given.nats_url or nats.url,
            nats_monitor_url="" if given.nats_url else nats.monitor_url,
            own=own,
        )

    def _prepare_database(self, owner_url: str, secrets: secret_store.Secrets) -> bool:
        """Bring the schema up; True when demo clinics were made."""
        bring_schema_up(owner_url, secrets, say=self._view.say)
        return self._with_demo and demo.seed_if_empty(
            owner_url, self._keys.master_key_file, say=self._view.say
        )

    def _environment(
        self, servers: _Servers, secrets: secret_store.Secrets, chosen: Mapping[str, int]
    ) -> ServiceEnvironment:
        return ServiceEnvironment(
            ports=chosen,
            app_database_url=url_for(servers.database_url, APP_ROLE, secrets.app_role),
            worker_database_url=url_for(servers.database_url, WORKER_ROLE, secrets.worker_role),
            redis_url=servers.redis_url,
            nats_url=servers.nats_url,
            jwks=self._keys.jwks.resolve(),
            master_key_file=self._keys.master_key_file.resolve(),
            gateway_token_file=self._keys.gateway_token_file.resolve(),
            logs=self._home.logs,
            certificates=self._certificates() if self._with_tls else None,
        )

    def _certificates(self) -> dict[str, Pair]:
        directory = self._home.certs.resolve()
        with disk_faults_told(directory):
            return ensure_certificates(directory)

    def _publish(self) -> None:
        if self._run_file:
            self._run_file().write(self._home)

    def _describe(
        self, servers: _Servers, environment: ServiceEnvironment, facts: DemoFacts | None
    ) -> RunFile:
        return RunFile(
            gateway_url=environment.gateway_url,
            grpc={name: environment.grpc_target(name) for name in GRPC_SERVICES},
            metrics={name: environment.metrics_target(name) for name in SERVICES},
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            nats_url=servers.nats_url,
            nats_monitor_url=servers.nats_monitor_url,
            pids={"medforall": os.getpid(), **self._supervisor.pids},
            tokens=demo_tokens(self._keys, facts, now_s=int(time.time())) if facts else {},
            demo=facts,
            tls=environment.tls,
        )


def bring_schema_up(owner_url: str, secrets: secret_store.Secrets, *, say: Callable[[str], None]) -> bool:
    """Migrate and let the services' roles log in; True when the schema changed.

    Raises `ServerError` in one sentence when that cannot be done; the data is left as it was.
    """
    try:
        report = migrate(owner_url)
        enable_login(owner_url, app_password=secrets.app_role, worker_password=secrets.worker_role)
    except (SchemaError, Unavailable) as error:
        raise ServerError(
            f"{error}", hint="The data was left as it was. Use the release that made it, or another home."
        ) from error
    except psycopg.Error as error:
        raise ServerError(
            f"The database cannot be migrated: {str(error).strip().splitlines()[0]}."
        ) from error
    if report.changed:
        say(f"migrated the database from {report.before or 'nothing'} to {report.after}")
    return report.changed


def demo_tokens(keys: KeyStore, facts: DemoFacts, *, now_s: int) -> dict[str, str]:
    """Tokens of the demo clinic for run.json; they last 30 days."""
    provider_id = facts.provider_ids[0] if facts.provider_ids else None
    return {
        str(role): keys.token(
            role=role,
            clinic_id=facts.clinic_id,
            scopes=None,
            ttl_s=_DEMO_TOKEN_TTL_S,
            now_s=now_s,
            provider_id=provider_id if role is Role.PROVIDER else None,
        )
        for role in (Role.ADMIN, Role.FRONT_DESK, Role.PROVIDER)
    }


def _service(environment: ServiceEnvironment, name: str) -> Child:
    return Child(name, lambda: environment.spec(name))


def _remembered_ports(said: Mapping[str, object]) -> dict[str, int]:
    return {name: port for name, port in said.items() if isinstance(port, int)}
