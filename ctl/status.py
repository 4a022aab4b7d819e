"""`medforall status`: how each process of a home is doing."""

import functools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta

import psutil
from rich.console import Console
from rich.table import Table

from ctl import readiness
from ctl.home import Home, read_json
from ctl.run_file import RunFile, read_run_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One process, or one server that is not ours (`pid` 0)."""

    name: str
    ready: bool
    pid: int
    address: str
    restarts: int
    memory_mib: float
    age_s: int


def look(home: Home) -> list[Row]:
    """A row for each part of the running suite; `NotRunningError` when none runs."""
    facts = read_run_file(home)
    restarts = {
        str(record.get("name")): int(record.get("restarts", 0))
        for record in read_json(home.children_file).get("children", [])
    }
    return [
        _row(name, ready(), facts.pids.get(name, 0), address, restarts.get(name, 0))
        for name, (address, ready) in _parts(facts).items()
    ]


def print_rows(console: Console, rows: list[Row], *, as_json: bool) -> None:
    """A table for people, or JSON for programs."""
    if as_json:
        console.print_json(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("", "state", "pid", "address", "restarts", "memory", "age", box=None, header_style="dim")
    for row in rows:
        table.add_row(
            row.name,
            "[green]ready[/]" if row.ready else "[bold red]not ready[/]",
            str(row.pid or "-"),
            row.address,
            str(row.restarts),
            f"{row.memory_mib:.0f} MiB" if row.pid else "-",
            str(timedelta(seconds=row.age_s)) if row.pid else "-",
        )
    console.print(table)


def _parts(facts: RunFile) -> dict[str, tuple[str, Callable[[], bool]]]:
    parts: dict[str, tuple[str, Callable[[], bool]]] = {
        "postgres": _server(facts.database_url, readiness.check_postgres),
        "nats": _server(facts.nats_url, readiness.check_nats),
        "valkey": _server(facts.redis_url, readiness.check_redis),
    }
    for name, target in facts.grpc.items():
        parts[name] = (target, functools.partial(readiness.grpc_serving, target, facts.tls))
    healthz = f"{facts.gateway_url}/healthz"
    parts["gateway"] = (facts.gateway_url, functools.partial(readiness.http_ok, healthz, facts.tls))
    return parts


def _server(url: str, check: Callable[[str], None]) -> tuple[str, Callable[[], bool]]:
    return readiness.without_password(url), functools.partial(readiness.passes, check, url)


def _row(name: str, ready: bool, pid: int, address: str, restarts: int) -> Row:
    memory_mib, age_s = 0.0, 0
    if pid:
        try:
            process = psutil.Process(pid)
            memory_mib = process.memory_info().rss / 2**20
            age_s = int(time.time() - process.create_time())
        except psutil.Error:
            ready = False
    return Row(
        name=name,
        ready=ready,
        pid=pid,
        address=address,
        restarts=restarts,
        memory_mib=memory_mib,
        age_s=age_s,
    )
