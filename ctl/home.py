"""The home: one directory with everything a suite on this machine owns.

<home>/home.json   says that this is a home, and of which layout
<home>/postgres/   <home>/nats/   <home>/valkey/    the embedded servers' data
<home>/keys/       signing key, JWKS, master key, passwords
<home>/certs/      development certificates, once `medforall up --tls` was used
<home>/logs/       one file per process
<home>/run/        what runs now: lock, children, the ports of last time
<home>/run.json    how to reach the suite; there only while it is ready
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctl.embedded.server import make_private_directory, write_private
from ctl.failures import AlreadyRunningError, HomeError, disk_faults_told
from ctl.processes import ProcessIdentity

LAYOUT = 1
DEFAULT = Path(".medforall")
_NEEDED_NEW_BYTES = 400 * 2**20
_NEEDED_AGAIN_BYTES = 64 * 2**20
_PARTS = ("postgres", "nats", "valkey", "keys", "certs", "logs", "run", "run.json", "home.json")


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside a home; nothing is read or made until a method is called."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def certs(self) -> Path:
        return self.path / "certs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def run_file(self) -> Path:
        return self.path / "run.json"

    @property
    def ports_file(self) -> Path:
        return self.run / "ports.json"

    @property
    def children_file(self) -> Path:
        return self.run / "children.json"

    @property
    def _marker(self) -> Path:
        return self.path / "home.json"

    @property
    def exists(self) -> bool:
        return self._marker.exists()

    def open(self) -> None:
        """Make the home, or make sure that an existing one is ours, whole and of a layout we know.

        Raises `HomeError` in one sentence; what it found is left as it was.
        """
        with disk_faults_told(self.path):
            new = not self.exists
            if new and self.path.exists() and any(self.path.iterdir()):
                raise HomeError(
                    f"{self.path} is not empty and is not a medforall home; it was left as it is.",
                    hint="Choose an empty or new directory with --home DIR.",
                )
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_owner()
            self._check_space(_NEEDED_NEW_BYTES if new else _NEEDED_AGAIN_BYTES)
            if new:
                write_private(self._marker, json.dumps({"layout": LAYOUT}) + "\n")
            self._check_layout()
            for directory in (self.keys, self.logs, self.run):
                make_private_directory(directory)

    def check(self) -> None:
        """Raise `HomeError` unless this is a home that was used before; makes nothing."""
        if not self.exists:
            raise HomeError(
                f"There is no medforall home in {self.path}.", hint="Start one with: medforall up"
            )
        self._check_layout()

    def erase(self) -> None:
        """Remove everything in the home, and the home itself if nothing foreign is in it."""
        self.check()
        with disk_faults_told(self.path):
            for part in _PARTS:
                place = self.path / part
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)
            if not any(self.path.iterdir()):
                self.path.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for this process; `AlreadyRunningError` when another process has it.

        The kernel frees the lock when the process ends, however it ends: there is no stale lock.
        """
        path = self.run / "lock"
        with disk_faults_told(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunningError(
                    f"The suite in {self.path} is already running{_of(self.holder())}.",
                    hint="See `medforall status`; stop it with `medforall down`; or use another --home DIR.",
                ) from None
            me = ProcessIdentity.of(os.getpid())
            file.truncate()
            file.write(json.dumps({"pid": os.getpid(), "created_at_s": me.created_at_s if me else 0.0}))
            file.flush()
            try:
                yield
            finally:
                # Whoever gives the home back and goes on with something else does not hold it any more.
                file.seek(0)
                file.truncate()

    def holder(self) -> ProcessIdentity | None:
        """The running process that holds the lock, if any."""
        said = read_json(self.run / "lock")
        try:
            identity = ProcessIdentity(int(said["pid"]), float(said["created_at_s"]))
        except (KeyError, TypeError, ValueError):
            return None
        return identity if identity.is_running else None

    def _check_owner(self) -> None:
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise HomeError(
                f"{self.path} belongs to another user (id {owner}, we are {os.geteuid()}).",
                hint="Run as that user, or choose another home with --home DIR.",
            )

    def _check_space(self, needed_bytes: int) -> None:
        free = shutil.disk_usage(self.path).free
        if free < needed_bytes:
            raise HomeError(
                f"The disk of {self.path} has {free >> 20} MB left; {needed_bytes >> 20} MB are needed.",
                hint="Free some space, or choose another place with --home DIR.",
            )

    def _check_layout(self) -> None:
        layout = read_json(self._marker).get("layout")
        if not isinstance(layout, int):
            raise HomeError(
                f"{self._marker} is damaged; the home was left as it is.",
                hint=f'If everything else is whole, write {{"layout": {LAYOUT}}} into that file.',
            )
        if layout != LAYOUT:
            raise HomeError(
                f"{self.path} was made by a {'newer' if layout > LAYOUT else 'much older'} medforall "
                f"(layout {layout}, known is {LAYOUT}); it was left as it is.",
                hint="Use the release that made it, or choose another home with --home DIR.",
            )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _of(holder: ProcessIdentity | None) -> str:
    return f" (pid {holder.pid})" if holder else ""
