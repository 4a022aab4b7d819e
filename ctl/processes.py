"""Child processes: started so that none is ever left behind, watched, and stopped in good order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ctl import launch
from ctl.failures import ServerError, disk_faults_told

_POLL_S = 0.03
_LOG_TAIL_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class RunAs:
    """An unprivileged user to run as, and the capabilities (numbers) it keeps."""

    uid: int
    gid: int
    capabilities: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}:{','.join(map(str, self.capabilities))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """All that is needed to start a program, know that it is ready, and stop it."""

    name: str
    argv: Sequence[str]
    log_path: Path
    is_ready: Callable[[], bool]
    cwd: Path = Path("/")
    env: Mapping[str, str | None] = field(default_factory=dict)  # beside what we inherit; None removes
    run_as: RunAs | None = None
    ready_timeout_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 15.0
    orphan_signal: signal.Signals = signal.SIGTERM
    waits_its_turn: bool = False  # when it wakes up it takes an idle core, but interrupts nobody who has one


def launcher(
    program: Sequence[str],
    *,
    run_as: RunAs | None,
    orphan_signal: signal.Signals,
    waits_its_turn: bool = False,
) -> list[str]:
    """The command line that runs `program` as somebody else's child (see `ctl.launch`)."""
    script = str(Path(launch.__file__).resolve())
    who, how = str(run_as) if run_as else "-", [launch.WAITS] if waits_its_turn else []
    return [
        sys.executable, "-I", "-S", script, str(os.getpid()), str(int(orphan_signal)), who, *how, *program,
    ]  # fmt: skip


class ManagedProcess:
    """One child process of this one.

    It has a session of its own, so that Ctrl-C in the terminal reaches only us and we decide the order of the
    stop. Its output goes straight to its log file: no pipe that fills when nobody reads.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._popen: subprocess.Popen[bytes] | None = None
        self.started_at_s = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it was started and not reaped; the same before and after the exec."""
        return self._popen.pid if self._popen else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs (or was never started); negative for a signal."""
        return self._popen.poll() if self._popen else None

    @property
    def is_alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        """Start the program; returns at once. Must be called by the thread that outlives the child."""
        spec = self.spec
        with disk_faults_told(spec.log_path):
            spec.log_path.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(spec.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._popen = subprocess.Popen(
                launcher(
                    spec.argv,
                    run_as=spec.run_as,
                    orphan_signal=spec.orphan_signal,
                    waits_its_turn=spec.waits_its_turn,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=spec.cwd,
                env={name: value for name, value in {**os.environ, **spec.env}.items() if value is not None},
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(log)
        self.started_at_s = time.monotonic()

    def wait_ready(self) -> None:
        """Return when it is ready; raise `ServerError`, with its last words, when it dies or is late."""
        deadline = self.started_at_s + self.spec.ready_timeout_s
        while not self.spec.is_ready():
            if not self.is_alive:
                raise self.failure(f"{self.spec.name} ended while starting (exit code {self.exit_code})")
            if time.monotonic() > deadline:
                raise self.failure(f"{self.spec.name} was not ready after {self.spec.ready_timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def request_stop(self) -> None:
        """Ask it to end; returns at once."""
        if self._popen and self._popen.poll() is None:
            self._popen.send_signal(self.spec.stop_signal)

    def stop(self) -> bool:
        """End it and all it started: ask, and kill after `stop_timeout_s`. True when asking was enough."""
        if self._popen is None:
            return True
        self.request_stop()
        try:
            self._popen.wait(self.spec.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """End it and its whole session now."""
        if self._popen is None:
            return
        if self._popen.poll() is None:
            kill_session(self._popen.pid)
        self._popen.wait(10)

    def failure(self, what: str) -> ServerError:
        """The fault `what`, with the end of the log as its hint."""
        tail = log_tail(self.spec.log_path)
        return ServerError(f"{what}.", hint=f"The end of {self.spec.log_path}:\n{tail}" if tail else "")


def log_tail(path: Path, *, lines: int = 12) -> str:
    """The last lines of a log, empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
            text = log.read(_LOG_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def kill_session(leader: int) -> None:
    """SIGKILL to a process that leads its own process group, and to that group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can be recognised later: ids are used again, a pair with the start time is not."""

    pid: int
    created_at_s: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The identity of a running process; None when there is none with that id."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    @property
    def is_running(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and abs(process.create_time() - self.created_at_s) < 1.0
        except psutil.Error:
            return False


def end_process(identity: ProcessIdentity, *, signal_number: signal.Signals, timeout_s: float) -> bool:
    """End a process that is not our child: signal, wait, then SIGKILL. True when it is gone."""
    for number in (signal_number, signal.SIGKILL):
        if not identity.is_running:
            return True
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            return True
        deadline = time.monotonic() + timeout_s
        while identity.is_running and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    return not identity.is_running
