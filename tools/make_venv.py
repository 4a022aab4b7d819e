"""Make the virtual environment that everything runs in, from the quickest build of Python that is at hand.

`python3 tools/make_venv.py .venv` looks through the PATH for other builds of the same Python (CPython 3.11 beside
CPython 3.11, never 3.12), has each do a fixed piece of work, and takes the quickest if it needs clearly less time than
this one. Builds differ by a quarter: distributions compile theirs with the compiler's profile and at link time, version
managers often do not. With `--this` the Python that runs it is taken, and nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

CLEARLY = 0.9  # of this Python's time; what is nearer than that is not worth a surprise
PATIENCE_S = 30
VENV_PATIENCE_S = 300
OWN = getattr(sys, "_base_executable", sys.executable)  # no activated environment's: it may be made anew
PARTS = ("bz2", "ctypes", "lzma", "sqlite3", "ssl", "venv", "zlib")


class Build(NamedTuple):
    """One build of Python: its program, version and place, whether it can install pip itself, its time for the work."""

    program: str
    version: str
    prefix: str
    has_ensurepip: bool
    took_s: float


def kind() -> list[object]:
    """What another build must share with this one, so that the same packages fit."""
    soabi = sysconfig.get_config_var("SOABI")
    return [sys.implementation.name, list(sys.version_info[:2]), soabi, platform.machine()]


def work() -> dict[int, list[str]]:
    """Do what services do: allocate, call, format and look up."""
    seen = {}
    for number in range(20_000):
        build = Build("python", f"{number}-x", "/", False, 0.0)
        seen[number % 97] = [part.upper() for part in build.version.split("-")]
    return seen


def best_s() -> float:
    """The time of the processor that the work takes here, the best of seven."""
    times = []
    for _ in range(7):
        begin_s = time.process_time()
        work()
        times.append(time.process_time() - begin_s)
    return min(times)


def probe(wanted: str) -> None:
    """Tell whoever asks what this Python is; end without, when it is another kind than `wanted` or lacks a part."""
    if json.dumps(kind()) == wanted and sys.version_info.releaselevel == "final":
        for part in PARTS:
            import_module(part)
        print(json.dumps(this_build()._replace(took_s=best_s())))


def measured(program: str) -> Build | None:
    """What the program is and how quick; nothing when it does not run, is another kind of Python or lacks a part."""
    command = [program, "-I", __file__, "--probe", json.dumps(kind())]
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=True
        )
        _, told, prefix, has_ensurepip, seconds = json.loads(ran.stdout)
        return Build(program, str(told), str(prefix), bool(has_ensurepip), float(seconds))
    except (OSError, subprocess.SubprocessError, TypeError, ValueError):
        return None


def this_build() -> Build:
    """The Python that runs this, unmeasured."""
    return Build(
        OWN, platform.python_version(), sys.base_prefix, find_spec("ensurepip") is not None, float("inf")
    )


def programs(path: str) -> Iterator[str]:
    """Programs on the PATH that may be this version of Python; relative parts of the PATH are passed over."""
    names = (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3")
    folders: dict[str, Path] = {}
    for folder in filter(Path.is_absolute, map(Path, path.split(os.pathsep))):
        # The real path tells it apart only: the PATH's own stays when a package manager puts another version behind it.
        folders.setdefault(os.path.realpath(folder), folder)
    for folder in folders.values():
        yield from filter(None, (shutil.which(name, path=str(folder)) for name in names))


def builds(path: str) -> Iterator[Build]:
    """Other builds on the PATH, each once, however many names it has."""
    seen = {sys.base_prefix}
    for program in programs(path):
        build = measured(program)
        if build is not None and build.prefix not in seen:
            seen.add(build.prefix)
            yield build


def chosen(own: Build, others: Iterable[Build]) -> Build:
    """The quickest of the others if it is clearly quicker than our own, else our own."""
    quickest = min(others, key=lambda build: build.took_s, default=own)
    return quickest if quickest.took_s < CLEARLY * own.took_s else own


def choose(path: str) -> Build:
    """The build to use: this process's own, or another on the PATH that is quicker and can be given pip."""
    own = measured(OWN) or this_build()
    if not (own.has_ensurepip or own_pip()):
        own = own._replace(took_s=float("inf"))
    build = chosen(own, [build for build in builds(path) if build.has_ensurepip or own_pip()])
    if build is not own:
        _say(f"Using Python {build.version} in {build.prefix}: {_told(build, own)}")
        _say("To use another, remove the environment, then give PYTHON=... to make.")
    return build


def _told(build: Build, own: Build) -> str:
    there = f"{own.version} in {own.prefix}"
    if own.took_s == float("inf"):
        return f"{there} lacks pip or a part of the standard library"
    return f"it takes {build.took_s / own.took_s:.0%} of the time of {there}"


@cache
def own_pip() -> str:
    """The version of this Python's pip, if it is a released one that can serve another Python (22.3), else ""."""
    command = [OWN, "-m", "pip", "--version"]
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return usable_pip(ran.stdout.decode(errors="replace"))


def usable_pip(told: str) -> str:
    """The version in what `pip --version` told, under the same conditions."""
    found = re.match(r"pip ((\d+)\.(\d+)[\d.]*) ", told)
    return found[1] if found and (int(found[2]), int(found[3])) >= (22, 3) else ""


def make(build: Build, target: Path) -> None:
    """Make the environment with pip in it.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be made; what is there then must not be used.
    """
    if build.has_ensurepip or not own_pip():
        _run(build.program, "-m", "venv", "--clear", str(target))
    else:
        _run(build.program, "-m", "venv", "--clear", "--without-pip", str(target))
        pip = [
            OWN,
            "-m",
            "pip",
            "--python",
            str(_python_of(target)),
            "--quiet",
            "--disable-pip-version-check",
        ]
        _run(*pip, "install", f"pip=={own_pip()}")
    _run(*_looking_into(target))


def works(target: Path) -> bool:
    """Whether there is a whole environment already."""
    try:
        _run(*_looking_into(target), stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _looking_into(target: Path) -> list[str]:
    return [str(_python_of(target)), "-I", "-c", "import ctypes, pip, ssl"]


def _python_of(target: Path) -> Path:
    return target / "bin" / "python"


def _run(*command: str, stderr: int | None = None) -> None:
    subprocess.run(command, timeout=VENV_PATIENCE_S, check=True, stderr=stderr)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    """Keep an environment that works, else choose and make; when the other build cannot make it, use this one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "target", type=Path, help="the folder to make; an environment there that works is kept"
    )
    parser.add_argument(
        "--this", action="store_true", help="use the Python that runs this, however quick others are"
    )
    options = parser.parse_args()
    if works(options.target):
        return
    own = this_build()
    build = own if options.this else choose(os.environ.get("PATH", os.defpath))
    for candidate in [build] if build.program == own.program else [build, own]:
        try:
            make(candidate, options.target)
        except (OSError, subprocess.SubprocessError) as failure:
            _say(f"Python {candidate.version} in {candidate.prefix} makes no environment: {failure}")
        else:
            return
    sys.exit(
        "No environment could be made; PYTHON=... chooses another Python. On Debian the package python3-venv is needed."
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--probe"]:
        probe(sys.argv[2])
    else:
        main()
