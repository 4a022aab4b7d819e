"""The environment is made from the quickest build of this Python on the PATH, and is made whatever that build does."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tools import make_venv
from tools.make_venv import Build

ROOT = Path(__file__).parents[3]


def build(program: str, took_s: float) -> Build:
    return Build(program, prefix=f"/opt/{program}", has_ensurepip=True, took_s=took_s)


def pretender(folder: Path, *, took_s: float, otherwise: str) -> Path:
    """A program named python3 that claims to be a build of this version, and does `otherwise` with all other tasks."""
    claim = json.dumps([list(sys.version_info[:2]), "/opt/elsewhere", True, took_s])
    program = folder / "python3"
    program.write_text(f"#!/bin/sh\nif [ \"$2\" = -c ]; then echo '{claim}'; else {otherwise}; fi\n")
    program.chmod(0o755)
    return program


def run(target: Path, path: Path, *options: str) -> str:
    """What the tool says when it makes the target, which must then be an environment with pip."""
    command = [sys.executable, str(ROOT / "tools" / "make_venv.py"), *options, str(target)]
    env = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    made = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    subprocess.run(
        [target / "bin" / "python", "-m", "pip", "--version"], capture_output=True, timeout=60, check=True
    )
    return made.stdout


def test_a_build_is_taken_only_when_it_is_clearly_quicker() -> None:
    """Another build must take less than nine tenths of our time, and the quickest of those is taken."""
    own = build("own", 1.0)
    assert make_venv.chosen(own, []) is own
    assert make_venv.chosen(own, [build("alike", 0.95), build("slow", 1.3)]) is own
    assert make_venv.chosen(own, [build("quick", 0.8), build("quickest", 0.7)]).program == "quickest"


def test_programs_are_found_once_each(tmp_path: Path) -> None:
    """Two names of one file are one program; what is no program, and empty parts of the PATH, are passed over."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    real = pretender(first, took_s=1, otherwise="exit 1")
    (second / "python3.11").symlink_to(real)
    (second / "python3").write_text("no program")
    path = os.pathsep.join(["", str(first), str(second), str(tmp_path / "missing")])
    assert list(make_venv.programs(path, (3, 11))) == [str(real)]


def test_another_version_or_a_broken_program_is_no_build(tmp_path: Path) -> None:
    """Only what answers as the same version is measured: a program that fails, babbles or is another version is not."""
    minor = sys.version_info[:2]
    assert make_venv.measured(sys.executable, minor) is not None
    assert make_venv.measured(sys.executable, (minor[0], minor[1] + 1)) is None
    assert make_venv.measured(str(tmp_path / "missing"), minor) is None
    program = tmp_path / "python3"
    for body in ("exit 1", "echo babble", "echo '[1, 2]'", "echo '3'"):
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        assert make_venv.measured(str(program), minor) is None


def test_the_quicker_build_makes_the_environment(tmp_path: Path) -> None:
    """A quicker build on the PATH is named and used; `--this` does not even ask it."""
    note = tmp_path / "asked"
    pretender(tmp_path, took_s=1e-9, otherwise=f'echo "$@" >> {note}; exec {sys.executable} "$@"')
    assert f"Using {tmp_path / 'python3'}" in run(tmp_path / "venv", tmp_path)
    assert note.read_text().startswith("-m venv")
    note.unlink()
    assert "Using" not in run(tmp_path / "plain", tmp_path, "--this")
    assert not note.exists()


def test_a_build_that_cannot_make_one_is_replaced_by_our_own(tmp_path: Path) -> None:
    """The environment is made by this Python when the quicker build fails, and that is said."""
    pretender(tmp_path, took_s=1e-9, otherwise="exit 1")
    assert f"using {sys.executable}" in run(tmp_path / "venv", tmp_path)
