"""Real PostgreSQL, NATS and Valkey for one test session.

They are children of a host process of their own, so that all workers of pytest-xdist share them and none
of them has to outlive the others. The host ends when the session says so, or when its process is gone.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from ctl.embedded import EmbeddedNats, EmbeddedPostgres, EmbeddedValkey, start_server
from ctl.embedded.postgres import Installation
from ctl.embedded.server import write_private
from ctl.ports import free_port
from ctl.processes import ManagedProcess, ProcessIdentity, end_process
from tests.support.waiting import wait_until

_DIRECTORY_VARIABLE = "MEDFORALL_TEST_SERVERS_DIR"
_OWNER_VARIABLE = "MEDFORALL_TEST_SERVERS_OWNER"
_POSTGRES_VARIABLE = "MEDFORALL_TEST_POSTGRES_BIN"
_START_TIMEOUT_S = 60.0
# A new database is hundreds of small files: in memory they cost a tenth of the time that a disk's file system takes.
_IN_MEMORY = Path("/dev/shm")
_ROOM_BYTES_MIN = 3 << 30
_PASSWORD = "test-servers"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the session's servers listen; the URLs carry the credentials."""

    postgres_url: str
    nats_url: str
    nats_monitor_url: str
    redis_url: str
    host_pid: int


def postgres_installation() -> Installation | None:
    """The PostgreSQL whose programs lie where the variable says; None, for the wheel's, when it says nothing."""
    programs = os.environ.get(_POSTGRES_VARIABLE)
    # Every version since 10 knows the C library's locales; the builtin ones came with 17.
    return Installation(Path(programs), ("--locale=C.UTF-8",)) if programs else None


def announce_session() -> None:
    """Choose the session's directory; called once, by the process that lives as long as the session."""
    os.environ[_DIRECTORY_VARIABLE] = tempfile.mkdtemp(prefix="medforall-test-servers-", dir=_quick_place())
    os.environ[_OWNER_VARIABLE] = str(os.getpid())


def _quick_place() -> Path | None:
    """Where files lie in memory and there is room for the servers' data; None, for the usual place, elsewhere."""
    if not os.access(_IN_MEMORY, os.W_OK) or not os.path.ismount(_IN_MEMORY):
        return None
    room_bytes = min(shutil.disk_usage(_IN_MEMORY).free, psutil.virtual_memory().available)
    return _IN_MEMORY if room_bytes >= _ROOM_BYTES_MIN else None


def obtain() -> Servers:
    """The session's servers; the first caller of all workers starts them."""
    directory = Path(os.environ[_DIRECTORY_VARIABLE])
    facts, failed = directory / "servers.json", directory / "failed"
    with _locked(directory / "lock"):
        if not facts.exists():
            _start_host(directory)
            wait_until(lambda: facts.exists() or failed.exists(), timeout_s=_START_TIMEOUT_S, what="servers")
        if failed.exists():
            raise RuntimeError(f"the test servers did not start:\n{failed.read_text()}")
        return Servers(**json.loads(facts.read_text()))


def end_session() -> None:
    """Stop the servers, if any were started, and remove their directory."""
    directory = Path(os.environ.pop(_DIRECTORY_VARIABLE))
    facts = directory / "servers.json"
    if facts.exists():
        host = ProcessIdentity.of(Servers(**json.loads(facts.read_text())).host_pid)
        if host:
            end_process(host, signal_number=signal.SIGTERM, timeout_s=60)
    shutil.rmtree(directory, ignore_errors=True)


def _start_host(directory: Path) -> None:
    with (directory / "host.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", __name__, str(directory), os.environ[_OWNER_VARIABLE]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
            check=True,
            timeout=_START_TIMEOUT_S,
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _host(directory: Path, owner_pid: int) -> None:
    """Run the servers until SIGTERM or until the session's process has ended."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    owner = ProcessIdentity.of(owner_pid)
    running: list[ManagedProcess] = []
    try:
        servers = _start(directory, running)
        write_private(directory / "servers.json", json.dumps(asdict(servers)))
        while owner and owner.is_running and not stop.wait(0.25):
            pass
    except Exception:
        (directory / "failed").write_text(traceback.format_exc())
        raise
    finally:
        for process in reversed(running):
            process.stop()
        if owner is None or not owner.is_running:
            shutil.rmtree(directory, ignore_errors=True)


def _start(directory: Path, running: list[ManagedProcess]) -> Servers:
    """Start the three servers, adding each to `running` as soon as it runs."""
    ports = [free_port() for _ in range(4)]
    postgres = EmbeddedPostgres(
        directory / "postgres",
        port=ports[0],
        password=_PASSWORD,
        log_path=directory / "postgres.log",
        installation=postgres_installation(),
    )
    nats = EmbeddedNats(
        directory / "nats",
        port=ports[1],
        monitor_port=ports[2],
        password=_PASSWORD,
        log_path=directory / "nats.log",
    )
    valkey = EmbeddedValkey(
        directory / "valkey", port=ports[3], password=_PASSWORD, log_path=directory / "valkey.log"
    )
    for server in (postgres, nats, valkey):
        running.append(start_server(server))  # noqa: PERF401 - what runs must be known when the next one fails
    _log_in_quickly(postgres.url)
    return Servers(postgres.url, nats.url, nats.monitor_url, valkey.url, os.getpid())


def _log_in_quickly(postgres_url: str) -> None:
    """Derive passwords in one round: tests connect thousands of times, and 4,096 rounds are most of what that takes.

    Only passwords set from now on are told apart from the product's, hence the superuser's again. Versions before 16
    have no such setting.
    """
    with psycopg.connect(postgres_url, autocommit=True) as superuser:
        if superuser.info.server_version >= 160_000:
            superuser.execute("ALTER SYSTEM SET scram_iterations = 1")
            superuser.execute("SET scram_iterations = 1")
            superuser.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(_PASSWORD)))
            superuser.execute("SELECT pg_reload_conf()")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("owner_pid", type=int)
    arguments = parser.parse_args()
    # The caller's child ends here; the host goes on as nobody's child and outlives the worker that asked.
    if os.fork() == 0:
        _host(arguments.directory, arguments.owner_pid)
