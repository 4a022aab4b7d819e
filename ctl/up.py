"""`medforall up`: the suite in the foreground, or as a process of its own."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Self

from rich.console import Console

from ctl.console import LogView
from ctl.failures import CtlError, ServerError, disk_faults_told
from ctl.home import Home
from ctl.log_files import LogFollower
from ctl.run_file import RunFile, read_run_file
from ctl.suite import GivenServers, Suite
from ctl.welcome import print_welcome

_LOOK_S = 0.1
_HASTE_AFTER_S = 1.0
_DETACHED_START_TIMEOUT_S = 300.0
_FILES_WANTED = 65_536


class StopRequests:
    """Notes SIGINT, SIGTERM and SIGHUP as a wish to drain, and a later Ctrl-C as a wish for haste.

    Only a SIGINT, and only some time after the first signal, means haste: `make` and process groups pass the same
    signal on more than once.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._first_s: float | None = None
        self._haste_interrupts = False
        self.hasty = False

    @property
    def requested(self) -> bool:
        """Whether the suite shall stop."""
        return self._first_s is not None

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self.note)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal; raises KeyboardInterrupt for haste inside `interruptible`."""
        now = self._monotonic()
        if self._first_s is None:
            self._first_s = now
        elif number == signal.SIGINT and now - self._first_s > _HASTE_AFTER_S:
            self.hasty = True
            if self._haste_interrupts:
                raise KeyboardInterrupt

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let haste break out of the block with KeyboardInterrupt, also when it was shown before."""
        self._haste_interrupts = True
        try:
            if self.hasty:
                raise KeyboardInterrupt
            yield
        finally:
            self._haste_interrupts = False


class _LogPump:
    """Shows what the processes of a home write, from now on."""

    def __init__(self, home: Home, view: LogView) -> None:
        self._home = home
        self._view = view
        self._followers: dict[str, LogFollower] = {
            path.stem: LogFollower(path) for path in home.logs.glob("*.log")
        }

    def pump(self) -> None:
        for path in self._home.logs.glob("*.log"):
            if path.stem not in self._followers:
                self._followers[path.stem] = LogFollower(path, from_end=False)
        for name, follower in self._followers.items():
            if name != "up":
                for line in follower.new_lines():
                    self._view.line(name, line)


def run_foreground(
    home: Home,
    console: Console,
    *,
    wanted_ports: Mapping[str, int],
    with_demo: bool,
    with_tls: bool,
    show_logs: bool,
) -> None:
    """Run the suite until a signal ends it; raises `CtlError` when it cannot be started."""
    home.open()
    with home.locked(), StopRequests() as stop:
        _raise_file_limit()
        view = LogView(console)
        suite = Suite(
            home,
            view,
            wanted_ports=wanted_ports,
            given=GivenServers.from_environment(os.environ),
            with_demo=with_demo,
            with_tls=with_tls,
        )
        pump = _LogPump(home, view) if show_logs else None
        try:
            _run(suite, stop, pump, console, home)
        except BaseException:
            view.say("stopping what was started")
            suite.stop()
            raise
        view.say("stopping; press Ctrl-C again to kill at once")
        _stop(suite, stop)
        if pump:
            pump.pump()
        view.say("stopped")


def _run(suite: Suite, stop: StopRequests, pump: _LogPump | None, console: Console, home: Home) -> None:
    def go_on() -> bool:
        if pump:
            pump.pump()
        return not stop.requested

    facts = suite.start(go_on=go_on)
    # In the background, whoever started this prints the welcome: the log is no place for a token.
    if facts and pump:
        print_welcome(console, facts, home)
    while go_on():
        suite.watch()
        time.sleep(_LOOK_S)


def _stop(suite: Suite, stop: StopRequests) -> None:
    """Drain; kill when the user will not wait."""
    try:
        with stop.interruptible():
            suite.stop()
    except KeyboardInterrupt:
        suite.kill()


def _raise_file_limit() -> None:
    """The services inherit it: one connection is one file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, _FILES_WANTED)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_detached(home: Home, console: Console, *, arguments: list[str]) -> RunFile:
    """Start `up` as a process of its own and return when the suite is ready, showing its steps meanwhile."""
    home.open()
    with home.locked():
        # Here and now it is told when the home is in use; and a run.json that a crash left is not taken for ours.
        home.run_file.unlink(missing_ok=True)
    log_path = home.logs / "up.log"
    follower = LogFollower(log_path)
    with disk_faults_told(log_path), log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ctl", "up", "--home", str(home.path), "--detached-child", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    facts = _await_ready(home, console, process, follower)
    print_welcome(console, facts, home)
    return facts


def _await_ready(
    home: Home, console: Console, process: subprocess.Popen[bytes], follower: LogFollower
) -> RunFile:
    deadline = time.monotonic() + _DETACHED_START_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        lines = list(follower.new_lines())
        if ended:
            raise ServerError("\n".join(lines) or f"`up` ended with exit code {process.returncode}.")
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        if home.run_file.exists():
            process.returncode = 0  # it goes on without us
            return read_run_file(home)
        time.sleep(_LOOK_S)
    process.terminate()
    raise ServerError(f"The suite was not ready after {_DETACHED_START_TIMEOUT_S:.0f} s; it was stopped.")


def take_down(home: Home, *, timeout_s: float) -> bool:
    """End the suite that runs in the home and wait until it is gone; False when none runs.

    It is asked to drain, and killed when it has not ended after `timeout_s`.
    """
    holder = home.holder()
    if holder is None:
        home.run_file.unlink(missing_ok=True)
        return False
    os.kill(holder.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while holder.is_running:
        if time.monotonic() > deadline:
            os.kill(holder.pid, signal.SIGKILL)
            raise CtlError(
                f"The suite did not stop within {timeout_s:.0f} s and was killed (pid {holder.pid}).",
                hint="No data is lost: what was acknowledged is on the disk.",
            )
        time.sleep(_LOOK_S)
    return True
