"""Keeps a group of child processes running, and takes them down in good order."""

import json
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ctl.embedded.server import write_private
from ctl.failures import CtlError, ServerError
from ctl.home import read_json
from ctl.processes import ManagedProcess, ProcessIdentity, ProcessSpec, end_process

_BACKOFF_FIRST_S = 0.2
_BACKOFF_MAX_S = 10.0
_STEADY_AFTER_S = 30.0
_START_POLL_S = 0.03


class Reporter(Protocol):
    """Who is told what happens to the children."""

    def child_event(self, name: str, sentence: str, *, bad: bool = False) -> None:
        """Something happened to the child `name`."""


@dataclass(slots=True)
class Child:
    """One supervised program: how it is prepared, and how it is doing."""

    name: str
    prepare: Callable[[], ProcessSpec]
    process: ManagedProcess | None = None
    ready: bool = False
    restarts: int = 0
    backoff_s: float = _BACKOFF_FIRST_S
    restart_at_s: float | None = None
    ready_by_s: float = 0.0

    @property
    def running(self) -> ManagedProcess:
        """Its process, when it was launched."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not launched")
        return self.process


class Supervisor:
    """Starts stages of children one after another, restarts what dies, stops the stages in reverse.

    All methods belong to one thread, the one that lives as long as the children.
    """

    def __init__(
        self,
        reporter: Reporter,
        *,
        children_file: Path,
        on_change: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reporter = reporter
        self._children_file = children_file
        self._on_change = on_change
        self._monotonic = monotonic
        self._stages: list[list[Child]] = []

    @property
    def children(self) -> list[Child]:
        """All children, in the order of their start."""
        return [child for stage in self._stages for child in stage]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {
            child.name: child.process.pid
            for child in self.children
            if child.process and child.process.is_alive and child.process.pid
        }

    def start(self, *stages: Sequence[Child], go_on: Callable[[], bool]) -> None:
        """Start the children of all `stages` together and return when all are ready.

        The stages only say in which order they are stopped. `go_on` is asked all the while; when it says no,
        the rest is not waited for. Raises `ServerError` when a child ends or is not ready in time.
        """
        started = [child for stage in stages for child in stage]
        self._stages.extend(list(stage) for stage in stages)
        for child in started:
            self._launch(child)
        waiting = started
        while waiting and go_on():
            waiting = [child for child in waiting if not self._became_ready(child)]
            time.sleep(_START_POLL_S)

    def watch(self) -> None:
        """One look at all: report the dead, restart those whose wait is over; never blocks for long."""
        now = self._monotonic()
        for child in self.children:
            if child.restart_at_s is not None:
                if now >= child.restart_at_s:
                    self._restart(child)
            elif child.process is None or not child.process.is_alive:
                self._schedule_restart(child, now)
            elif not child.ready:
                self._check_late_start(child, now)
            elif now - child.process.started_at_s > _STEADY_AFTER_S:
                child.backoff_s = _BACKOFF_FIRST_S

    def stop(self) -> None:
        """Stop all children, the last stage first; inside a stage together."""
        for stage in reversed(self._stages):
            for child in stage:
                if child.process:
                    child.process.request_stop()
            for child in stage:
                if child.process and not child.process.stop():
                    self._reporter.child_event(child.name, "did not stop in time and was killed", bad=True)
        self._stages.clear()
        self._children_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End all children at once, without asking."""
        for child in reversed(self.children):
            if child.process:
                child.process.kill()
        self._stages.clear()
        self._children_file.unlink(missing_ok=True)

    def _launch(self, child: Child) -> None:
        child.ready = False
        child.process = ManagedProcess(child.prepare())
        child.process.start()
        child.ready_by_s = self._monotonic() + child.process.spec.ready_timeout_s
        self._remember_children()

    def _became_ready(self, child: Child) -> bool:
        process = child.running
        if process.spec.is_ready():
            child.ready = True
            self._reporter.child_event(child.name, "ready")
        elif not process.is_alive:
            raise process.failure(f"{child.name} ended while starting ({_ending(child)})")
        elif self._monotonic() > child.ready_by_s:
            raise process.failure(f"{child.name} was not ready in time")
        return child.ready

    def _check_late_start(self, child: Child, now: float) -> None:
        if child.running.spec.is_ready():
            child.ready = True
            self._reporter.child_event(child.name, "ready again")
            self._on_change()
        elif now > child.ready_by_s:
            self._reporter.child_event(child.name, "does not become ready and is killed", bad=True)
            child.running.kill()

    def _schedule_restart(self, child: Child, now: float) -> None:
        child.ready = False
        self._reporter.child_event(
            child.name, f"died ({_ending(child)}); starting it again in {child.backoff_s:.1f} s", bad=True
        )
        child.restart_at_s = now + child.backoff_s
        child.backoff_s = min(child.backoff_s * 2, _BACKOFF_MAX_S)

    def _restart(self, child: Child) -> None:
        child.restart_at_s = None
        child.restarts += 1
        try:
            self._launch(child)
        except (CtlError, OSError) as error:
            self._reporter.child_event(child.name, f"cannot be started: {error}", bad=True)
            child.process = None
        self._on_change()

    def _remember_children(self) -> None:
        """Write down who our children are, so that the next run can end what a crash may leave."""
        records = []
        for child in self.children:
            identity = ProcessIdentity.of(child.process.pid) if child.process and child.process.pid else None
            if identity and child.process:
                records.append(
                    {
                        "name": child.name,
                        "pid": identity.pid,
                        "created_at_s": identity.created_at_s,
                        "signal": int(child.process.spec.stop_signal),
                        "restarts": child.restarts,
                    }
                )
        write_private(self._children_file, json.dumps({"children": records}))


def end_strays(children_file: Path) -> list[str]:
    """End children of an earlier run that was killed and left them; returns their names.

    The kernel ends them with their parent (see `ctl.launch`), so there is nothing to do as a rule.
    """
    ended = []
    for name, identity, stop_signal in _recorded(children_file):
        if not identity.is_running:
            continue
        if not end_process(identity, signal_number=stop_signal, timeout_s=15):
            raise ServerError(
                f"{name} (pid {identity.pid}) of an earlier run cannot be ended.",
                hint="End that process, then try again.",
            )
        ended.append(name)
    children_file.unlink(missing_ok=True)
    return ended


def _recorded(children_file: Path) -> Iterable[tuple[str, ProcessIdentity, signal.Signals]]:
    for record in read_json(children_file).get("children", []):
        try:
            identity = ProcessIdentity(int(record["pid"]), float(record["created_at_s"]))
            yield str(record["name"]), identity, signal.Signals(int(record["signal"]))
        except (KeyError, TypeError, ValueError):
            continue


def _ending(child: Child) -> str:
    code = child.process.exit_code if child.process else None
    if code is None:
        return "not started"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
