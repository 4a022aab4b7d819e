"""The contracts are what lint, stubs and code say they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from medforall.type.v1 import reason_pb2

from scheduling.errors import Reason

ROOT = Path(__file__).resolve().parents[2]
BUF = Path(sys.executable).parent / "buf"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool in the project's root."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("arguments", [("lint",), ("format", "--diff", "--exit-code", "protos")])
def test_buf_accepts_the_contracts(arguments: tuple[str, ...]) -> None:
    """Contracts pass buf's STANDARD and COMMENTS rules and are formatted, without a network."""
    done = run(BUF, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_breaks_the_released_contracts() -> None:
    """A change that would break a client generated from the baseline is refused."""
    done = run(BUF, "breaking", "protos", "--against", "protos-baseline.binpb")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_are_what_the_contracts_say() -> None:
    """Generating `gen/` again changes no committed file."""
    done = run(sys.executable, "tools/generate_protos.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_reasons_in_code_and_contract_are_the_same() -> None:
    """Every reason an exception can carry is in the contract, and the other way round."""
    prefix = "ERROR_REASON_"
    contract = {
        name.removeprefix(prefix)
        for name in reason_pb2.ErrorReason.keys()  # noqa: SIM118 - an enum wrapper, no mapping
    } - {"UNSPECIFIED"}
    assert {reason.value for reason in Reason} == contract
