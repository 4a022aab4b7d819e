"""The environment is made from the quickest build of this Python on the PATH, and is made whatever that build does."""

import json
import os
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools import make_venv
from tools.make_venv import Build

ROOT = Path(__file__).parents[3]
HAS_ENSUREPIP = find_spec("ensurepip") is not None
ITSELF = f'exec {shlex.quote(make_venv.OWN)} "$@"'


def build(program: str, took_s: float) -> Build:
    return Build(program, "3.11.0", prefix=f"/opt/{program}", has_ensurepip=True, took_s=took_s)


def program(folder: Path, body: str, name: str = "python3") -> Path:
    """A program in this folder, which is made, that does what `body` says."""
    folder.mkdir(exist_ok=True)
    made = folder / name
    made.write_text(f"#!/bin/sh\n{body}\n")
    made.chmod(0o755)
    return made


def pretender(folder: Path, otherwise: str, *, has_ensurepip: bool = HAS_ENSUREPIP) -> Path:
    """A program named python3 that claims to be a very quick build and does `otherwise` with all but that question.

    What it is asked stands in the file `asked` beside it.
    """
    claim = json.dumps(Build("python3", "3.99.0", "/opt/elsewhere", has_ensurepip, 1e-9))
    answer = f'if [ "$3" = --probe ]; then echo {shlex.quote(claim)}; else {otherwise}; fi'
    return program(folder, f'echo "$@" >> {shlex.quote(str(folder / "asked"))}\n{answer}')


def run(target: Path, path: Path, *options: str) -> str:
    """What the tool says when it makes the target, which must then be an environment with pip."""
    command = [make_venv.OWN, str(ROOT / "tools" / "make_venv.py"), *options, str(target)]
    env = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    made = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    subprocess.run(
        [target / "bin" / "python", "-m", "pip", "--version"], capture_output=True, timeout=60, check=True
    )
    return made.stderr


def test_a_build_is_taken_only_when_it_is_clearly_quicker() -> None:
    """Another build must take less than nine tenths of our time, and the quickest of those is taken."""
    own = build("own", 1.0)
    assert make_venv.chosen(own, []) is own
    assert make_venv.chosen(own, [build("alike", 0.95), build("slow", 1.3)]) is own
    assert make_venv.chosen(own, [build("quick", 0.8), build("quickest", 0.7)]).program == "quickest"


def test_programs_are_looked_for_where_it_is_safe(tmp_path: Path) -> None:
    """Each folder is looked through once; what is no program, relative folders and missing ones are passed over."""
    first, second = tmp_path / "first", tmp_path / "second"
    real = program(first, "exit 1")
    second.mkdir()
    (second / "python3").write_text("no program")
    (tmp_path / "again").symlink_to(first)
    folders = ["", ".", str(first), str(second), str(tmp_path / "missing"), str(tmp_path / "again")]
    assert list(make_venv.programs(os.pathsep.join(folders))) == [str(real)]


def test_a_build_with_many_names_is_one(tmp_path: Path) -> None:
    """Two programs of one installation are one build, and those of our own installation are none."""
    pretender(tmp_path / "a", "exit 1")
    pretender(tmp_path / "b", "exit 1")
    program(tmp_path / "c", ITSELF)
    path = os.pathsep.join(str(tmp_path / name) for name in "abc")
    assert [found.prefix for found in make_venv.builds(path)] == ["/opt/elsewhere"]


@pytest.mark.parametrize(
    "body",
    [
        "exit 1",
        "echo babble",
        "echo '[1, 2]'",
        "echo '3'",
        "echo '[0, 1, 2, 3, []]'",
        "echo '[0, 1, 2, 3, \"x\"]'",
    ],
)
def test_what_does_not_answer_is_no_build(tmp_path: Path, body: str) -> None:
    """A program that fails or babbles is passed over."""
    assert make_venv.measured(str(program(tmp_path, body))) is None


def test_another_kind_of_python_is_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a Python of the same implementation, version and binary interface is measured."""
    assert make_venv.measured(make_venv.OWN) is not None
    assert make_venv.measured("/nowhere/python3") is None
    own = make_venv.kind()
    for place in range(len(own)):
        monkeypatch.setattr(make_venv, "kind", lambda place=place: [*own[:place], "other", *own[place + 1 :]])
        assert make_venv.measured(make_venv.OWN) is None


def test_a_build_that_can_be_given_no_pip_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quicker build without ensurepip is passed over when this Python has no pip that could serve it."""
    pretender(tmp_path, "exit 1", has_ensurepip=False)
    monkeypatch.setattr(make_venv, "own_pip", lambda: "23.2.1")
    assert make_venv.choose(str(tmp_path)).prefix == "/opt/elsewhere"
    monkeypatch.setattr(make_venv, "own_pip", lambda: "")
    assert make_venv.choose(str(tmp_path)).program == make_venv.OWN


def test_any_build_with_pip_is_better_than_ours_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that can make no environment (Debian's without python3-venv) takes one that can, however slow."""
    pretender(tmp_path, "exit 1", has_ensurepip=True)
    slow = make_venv.measured(str(tmp_path / "python3"))
    assert slow is not None
    own = make_venv.this_build()._replace(has_ensurepip=False, took_s=1.0)
    monkeypatch.setattr(
        make_venv, "measured", lambda program: own if program == make_venv.OWN else slow._replace(took_s=9)
    )
    monkeypatch.setattr(make_venv, "own_pip", lambda: "")
    assert make_venv.choose(str(tmp_path)).prefix == "/opt/elsewhere"


@pytest.mark.parametrize(
    ("told", "usable"),
    [
        ("pip 22.2.9 from /x (python 3.11)", ""),
        ("pip 22.3 from /x (python 3.11)", "22.3"),
        ("pip 23.2.1 from /x (python 3.11)", "23.2.1"),
        ("pip 24.1b1 from /x (python 3.11)", ""),
        ("pip 26.2.dev0 from /x (python 3.11)", ""),
        ("", ""),
    ],
)
def test_only_a_released_pip_that_knows_other_pythons_serves_another(told: str, usable: str) -> None:
    """pip learned `--python` in 22.3, and only what was released can be installed by its version."""
    assert make_venv.usable_pip(told) == usable


def test_a_python_that_lacks_parts_takes_one_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that cannot be measured, since it lacks a part that services need, takes a whole one, however slow."""
    pretender(tmp_path, "exit 1", has_ensurepip=True)
    measure = make_venv.measured
    monkeypatch.setattr(make_venv, "measured", lambda name: None if name == make_venv.OWN else measure(name))
    assert make_venv.choose(str(tmp_path)).prefix == "/opt/elsewhere"
    assert make_venv.choose("").program == make_venv.OWN


def test_the_quicker_build_makes_the_environment(tmp_path: Path) -> None:
    """A quicker build on the PATH is named and used; with `--this` it is not even asked."""
    asked = tmp_path / "asked"
    pretender(tmp_path, ITSELF)
    assert "Using Python 3.99.0 in /opt/elsewhere" in run(tmp_path / "venv", tmp_path)
    assert "-m venv" in asked.read_text()
    asked.unlink()
    assert "Using" not in run(tmp_path / "plain", tmp_path, "--this")
    assert not asked.exists()


@pytest.mark.parametrize("otherwise", ["exit 1", "exit 0"])
def test_a_build_that_makes_none_is_replaced_by_our_own(tmp_path: Path, otherwise: str) -> None:
    """This Python makes the environment when the quicker build fails or only says that it has done it."""
    pretender(tmp_path, otherwise)
    assert "/opt/elsewhere makes no environment" in run(tmp_path / "venv", tmp_path)


def test_an_environment_that_works_is_kept(tmp_path: Path) -> None:
    """What is there and works is left as it is, and nobody is asked; what is broken is made anew."""
    target = tmp_path / "venv"
    run(target, tmp_path)
    (target / "mark").touch()
    pretender(tmp_path, ITSELF)
    run(target, tmp_path)
    assert (target / "mark").exists()
    assert not (tmp_path / "asked").exists()
    (target / "bin" / "python").unlink()
    run(target, tmp_path)
    assert not (target / "mark").exists()
