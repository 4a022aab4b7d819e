"""Generate `gen/` from the contracts, or check that it is what the contracts say.

Runs `grpc_tools.protoc` with mypy-protobuf's plugins; no network. `--check` generates into a temporary folder and
fails, naming the files, when the committed stubs differ.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"medforall": ROOT / "protos", "buf": ROOT / "third_party" / "protos"}


def proto_files(package: str) -> list[str]:
    """Paths of a package's contracts, relative to its root, in a stable order."""
    root = SOURCES[package]
    return sorted(str(path.relative_to(root)) for path in (root / package).rglob("*.proto"))


def generate(target: Path) -> None:
    """Write all stubs below `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    includes = [f"-I{root}" for root in SOURCES.values()]
    outputs = ["python", "grpc_python", "mypy", "mypy_grpc"]
    files = [name for package in SOURCES for name in proto_files(package)]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        *includes,
        *[f"--{o}_out={target}" for o in outputs],
        *files,
    ]
    subprocess.run(command, check=True, env=environment)
    drop_empty_services(target)


def drop_empty_services(target: Path) -> None:
    """Remove the service stubs of contracts that define no service."""
    for path in target.rglob("*_pb2_grpc.py"):
        if "Stub" not in path.read_text():
            path.unlink()
            path.with_suffix(".pyi").unlink(missing_ok=True)


def differences(left: Path, right: Path) -> list[str]:
    """Files that differ between two trees, caches left aside."""

    def listing(root: Path) -> set[str]:
        return {
            str(p.relative_to(root))
            for p in root.rglob("*.py*")
            if p.is_file() and "__pycache__" not in p.parts
        }

    names = listing(left) | listing(right)
    return sorted(n for n in names if not same(left / n, right / n))


def same(left: Path, right: Path) -> bool:
    """Whether both files exist and are equal to the letter."""
    return left.is_file() and right.is_file() and filecmp.cmp(left, right, shallow=False)


def main() -> int:
    """Generate, or with `--check` compare; 1 when the stubs have drifted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        generate(ROOT / "gen")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "gen")
        drifted = differences(Path(folder) / "gen", ROOT / "gen")
    for name in drifted:
        print(f"gen/{name} is not what the contracts say: run `make proto`")
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
