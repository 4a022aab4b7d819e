"""Node.js and the packages of clients/node-grpc."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command import ROOT

FOLDER = ROOT / "clients" / "node-grpc"


def node() -> str:
    """The path of Node.js; skips the test where there is none, but never in CI."""
    path = shutil.which("node")
    if path is None:
        _missing("Node.js is not installed")
    return str(path)


def with_packages() -> Path:
    """The folder in which scripts find their packages; skips the test where they are not installed, but not in CI."""
    if not (FOLDER / "node_modules" / "@grpc" / "grpc-js").is_dir():
        _missing("the packages of clients/node-grpc are not installed: make setup")
    return FOLDER


def run_node(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`node ARGUMENTS` in the folder of the packages, finished."""
    return subprocess.run(
        [node(), *arguments],
        cwd=with_packages(),
        env=os.environ | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI has it")
    pytest.skip(what)
