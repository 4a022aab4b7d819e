"""What the embedded servers have in common."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import psutil

from ctl.failures import HomeError, ServerError
from ctl.processes import ManagedProcess, ProcessIdentity, ProcessSpec, end_process


class EmbeddedServer(Protocol):
    """A server that can be prepared and then run as a child process."""

    @property
    def name(self) -> str:
        """Short name, as shown in logs."""

    @property
    def url(self) -> str:
        """Where clients connect, credentials included."""

    def prepare(self) -> ProcessSpec:
        """Make directory and configuration ready; may be called again before each start."""


def start_server(server: EmbeddedServer) -> ManagedProcess:
    """Prepare and start a server and wait until it answers; the caller stops it."""
    process = ManagedProcess(server.prepare())
    process.start()
    try:
        process.wait_ready()
    except BaseException:
        process.kill()
        raise
    return process


def wheel_directory(package: str, *, wheel: str) -> Path:
    """Where a wheel's files lie; the package is not imported, because that may already do things."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServerError(f"The package {wheel} is not installed.", hint="Run: make setup")
    return Path(next(iter(spec.submodule_search_locations)))


def make_private_directory(path: Path) -> None:
    """Make sure `path` is a directory that only its owner can enter."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by its owner alone; never half written."""
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def end_leftover(binary: Path, directory: Path, *, signal_number: signal.Signals, timeout_s: float) -> None:
    """End servers of an earlier run that still use `directory`.

    A server belongs to the directory when it runs our binary with it as working directory: that cannot be
    confused with a foreign process that happens to have an old process id.
    """
    for leftover in _users_of(binary, directory):
        if not end_process(leftover, signal_number=signal_number, timeout_s=timeout_s):
            raise HomeError(
                f"{binary.name} of an earlier run (pid {leftover.pid}) uses {directory} and cannot be ended.",
                hint="End that process, then try again.",
            )


def _users_of(binary: Path, directory: Path) -> list[ProcessIdentity]:
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != binary.name[:15]:
            continue
        try:
            if Path(process.cwd()) == directory.resolve() and _is_first(process, binary):
                found.append(ProcessIdentity(process.pid, process.create_time()))
        except (psutil.Error, OSError):
            continue
    return found


def _is_first(process: psutil.Process, binary: Path) -> bool:
    """Leave out the workers of a server: they end with their parent."""
    parent = process.parent()
    return parent is None or parent.name() != binary.name[:15]
