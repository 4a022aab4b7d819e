"""`make clients`: the Python wheel and the TypeScript package, into build/clients.

`clients/typescript/index.js` and `index.d.ts` are committed; `--check` fails when the OpenAPI document says other
things by now.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tools.typescript_client import declarations, module

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = ROOT / "clients"
OUTPUT = ROOT / "build" / "clients"


def typescript() -> dict[Path, str]:
    """The generated files of the TypeScript client, by path."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    folder = CLIENTS / "typescript"
    return {folder / "index.js": module(document), folder / "index.d.ts": declarations(document)}


def build_python() -> Path:
    """Build the wheel from a copy: the client beside the stubs of `gen`."""
    source = OUTPUT / "python"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(CLIENTS / "python", source)
    stubs = source / "src" / "medforall"
    _copy(ROOT / "gen" / "medforall", stubs)
    # Under a name of ours: `buf` belongs to whatever else the integrator has installed.
    _copy(ROOT / "gen" / "buf", stubs / "buf")
    for path in (*stubs.rglob("*.py"), *stubs.rglob("*.pyi")):
        path.write_text(
            path.read_text().replace("from buf.validate import", "from medforall.buf.validate import")
        )
    command = [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-build-isolation", "--wheel-dir", str(OUTPUT), str(source),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return next(OUTPUT.glob("medforall_client-*.whl"))


def _copy(package: Path, target: Path) -> None:
    shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))


def build_typescript() -> Path:
    """Write the generated files and copy the package."""
    for path, text in typescript().items():
        path.write_text(text)
    target = OUTPUT / "typescript"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(CLIENTS / "typescript", target)
    return target


def drifted() -> list[Path]:
    """Committed files that the OpenAPI document no longer says."""
    return [path for path, text in typescript().items() if not path.is_file() or path.read_text() != text]


def main() -> int:
    """Build both, or with `--check` compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of building")
    if parser.parse_args().check:
        for path in drifted():
            print(f"{path.relative_to(ROOT)} is not what docs/openapi.json says: run `make clients`")
        return int(bool(drifted()))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    print(f"Python:     {build_python().relative_to(ROOT)}")
    print(f"TypeScript: {build_typescript().relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
