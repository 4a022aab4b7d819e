"""Runs the `medforall` command as a user does: in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the command inherits: no MEDFORALL_ variable but the given ones, plain wide output."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MEDFORALL_")}
    return inherited | {"COLUMNS": "200", "NO_COLOR": "1"} | dict(given or {})


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
