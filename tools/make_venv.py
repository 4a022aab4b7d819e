"""Make the virtual environment that everything runs in, from the quickest build of Python that is at hand.

`python3 tools/make_venv.py .venv` looks through the PATH for other builds of the same version of Python (3.11 beside
3.11, never 3.12) and takes the one that does a fixed piece of work in the least time, if that is clearly less than
this Python needs. Builds differ by a quarter: distributions compile theirs with the compiler's profile and at link
time, version managers often do not. `--this` takes the Python that runs it and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

OLDEST = (3, 11)
CLEARLY = 0.9  # of this Python's time; what is nearer than that is not worth a surprise
PATIENCE_S = 30
VENV_PATIENCE_S = 300

# Allocates, calls, formats and looks up, as services do; says what the build is, and the best of seven times.
PROBE = """
import json, ssl, sys, time, venv
from importlib.util import find_spec
class Pair:
    __slots__ = ("left", "right")
    def __init__(self, left, right):
        self.left, self.right = left, right
def work():
    seen = {}
    for number in range(20_000):
        pair = Pair(number, f"{number}-x")
        seen[number % 97] = [part.upper() for part in pair.right.split("-")]
    return seen
def took():
    begin = time.process_time()
    work()
    return time.process_time() - begin
best = min(took() for _ in range(7))
print(json.dumps([list(sys.version_info[:2]), sys.base_prefix, bool(find_spec("ensurepip")), best]))
"""


class Build(NamedTuple):
    """One build of Python: its program, where it is installed, whether it can install pip itself, its time."""

    program: str
    prefix: str
    has_ensurepip: bool
    took_s: float


def measured(program: str, minor: tuple[int, int]) -> Build | None:
    """What the program is and how quick; nothing when it does not run, lacks `ssl` or `venv`, or is another version."""
    try:
        ran = subprocess.run(
            [program, "-I", "-c", PROBE], capture_output=True, timeout=PATIENCE_S, check=True
        )
        found, prefix, has_ensurepip, took_s = json.loads(ran.stdout)
    except (OSError, subprocess.SubprocessError, TypeError, ValueError):
        return None
    return Build(program, prefix, has_ensurepip, took_s) if tuple(found) == minor else None


def programs(path: str, minor: tuple[int, int]) -> Iterator[str]:
    """Programs on the PATH that may be this version of Python, each file once."""
    seen = set()
    for folder in filter(None, path.split(os.pathsep)):
        for name in (f"python{minor[0]}.{minor[1]}", "python3"):
            program = Path(folder, name)
            if program.is_file() and os.access(program, os.X_OK) and program.resolve() not in seen:
                seen.add(program.resolve())
                yield str(program)


def chosen(own: Build, others: list[Build]) -> Build:
    """The quickest of the others if it is clearly quicker than our own, else our own."""
    quickest = min(others, key=lambda build: build.took_s, default=own)
    return quickest if quickest.took_s < CLEARLY * own.took_s else own


def choose(path: str) -> Build:
    """The build to use, this process's own or another of its version on the PATH.

    Raises:
        SystemExit: this Python is older than the project needs.
    """
    minor = sys.version_info[:2]
    if minor < OLDEST:
        sys.exit("medforall needs Python 3.11 or newer; choose one with PYTHON=…")
    own = measured(sys.executable, minor)
    if own is None:
        sys.exit(
            f"{sys.executable} lacks ssl or venv, which medforall needs; choose another Python with PYTHON=…"
        )
    found = (measured(program, minor) for program in programs(path, minor))
    others = [
        build
        for build in found
        if build and build.prefix != own.prefix and (build.has_ensurepip or _own_pip())
    ]
    build = chosen(own, others)
    if build is not own:
        share = round(100 * build.took_s / own.took_s)
        print(
            f"Using {build.program}: it takes {share} % of the time of {own.program} (PYTHON=… chooses another)"
        )
    return build


def make(build: Build, target: Path) -> None:
    """Make the environment with pip in it; what a failure leaves behind is not taken for an environment.

    Raises:
        subprocess.SubprocessError: it could not be made in time.
    """
    pip = () if build.has_ensurepip else ("--without-pip",)
    _run(build.program, "-m", "venv", "--clear", *pip, str(target))
    if not build.has_ensurepip:
        options = ("--quiet", "--disable-pip-version-check")
        _run(
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(target / "bin" / "python"),
            "install",
            *options,
            f"pip=={_own_pip()}",
        )


def _run(*command: str) -> None:
    subprocess.run(command, timeout=VENV_PATIENCE_S, check=True)


def _own_pip() -> str:
    """The version of the pip that this process could use, "" for none."""
    try:
        return version("pip") if find_spec("pip") else ""
    except PackageNotFoundError:
        return ""


def main() -> None:
    """Choose, make, and fall back to this Python when the other one cannot make an environment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", type=Path, help="the folder to make")
    parser.add_argument(
        "--this", action="store_true", help="use the Python that runs this, however quick others are"
    )
    options = parser.parse_args()
    build = choose("" if options.this else os.environ.get("PATH", os.defpath))
    try:
        make(build, options.target)
    except subprocess.SubprocessError as failure:
        if build.program == sys.executable:
            sys.exit(f"no environment could be made: {failure}")
        print(f"{build.program} makes no environment ({failure}); using {sys.executable}")
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(options.target)],
            timeout=VENV_PATIENCE_S,
            check=True,
        )


if __name__ == "__main__":
    main()
