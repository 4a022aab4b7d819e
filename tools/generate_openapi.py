"""Write the OpenAPI and AsyncAPI documents from the contracts, or check that they are what the contracts say.

The comments of the contracts are not in the generated stubs, so protoc is asked for them here, and the gateway
serves the files as they are committed. `--check` fails, naming the files, when they differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from gateway.asyncapi import build_document as build_asyncapi
from gateway.contracts import load_contracts
from gateway.openapi import build_document as build_openapi
from gateway.schemas import comments_of
from gateway.transcoding.bindings import bindings_of

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "gateway" / "documents"
VERSION = "1.0.0"


def read_comments() -> dict[str, str]:
    """Every comment of the contracts, by full name."""
    protos = ROOT / "protos"
    names = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "contracts.binpb"
        command = [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"-I{ROOT / 'third_party' / 'protos'}",
            "--include_source_info", f"--descriptor_set_out={output}", *names,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return comments_of(descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file)


def documents() -> dict[str, dict[str, Any]]:
    """The documents by file name."""
    comments = read_comments()
    bindings = bindings_of([contract.service for contract in load_contracts()])
    return {
        "openapi.json": build_openapi(bindings, comments, version=VERSION),
        "asyncapi.json": build_asyncapi(version=VERSION),
    }


def main() -> int:
    """Write, or with `--check` compare; 1 when a document has drifted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    is_check = parser.parse_args().check
    drifted = []
    for name, document in documents().items():
        path = TARGET / name
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        if not is_check:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            drifted.append(path)
    for path in drifted:
        print(
            f"{path.relative_to(ROOT)} is not what the contracts say: run `python tools/generate_openapi.py`"
        )
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
