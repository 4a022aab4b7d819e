"""Runs the `medforall` command: in a process of its own as a user does, or here, where the process proves nothing."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner

from ctl.main import app

ROOT = Path(__file__).resolve().parents[2]


_PLAIN = {"COLUMNS": "200", "NO_COLOR": "1"}


def command_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the command inherits: no MEDFORALL_ variable but the given ones, plain wide output."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEDFORALL_")}
    return inherited | _PLAIN | dict(given or {})


def medforall(
    *arguments: str, timeout_s: float = 60.0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished command: exit code, stdout, stderr."""
    return subprocess.run(
        [sys.executable, "-m", "ctl", *arguments],
        cwd=ROOT,
        env=command_environment(environment),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def medforall_here(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same, run by this process: starting one costs a second, most of it for what is imported here already.

    What the command does not tell as a fault is raised.
    """
    unset = {name: None for name in os.environ if name.startswith("MEDFORALL_")}
    done = CliRunner().invoke(app, arguments, env={**unset, **_PLAIN, **(environment or {})})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)
