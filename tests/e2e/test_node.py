"""Node.js as an integrator uses it: gRPC from the contracts as they are, and the TypeScript client's types."""

from __future__ import annotations

import re

import pytest

from ctl.run_file import RunFile, shell_variables
from tests.support.node import run_node

pytestmark = pytest.mark.node


def test_grpc_js_searches_books_is_refused_and_cancels(suite: RunFile) -> None:
    """@grpc/grpc-js with the .proto files books a slot, reads why a second is refused, and cancels."""
    done = run_node("book.mjs", environment=shell_variables(suite))
    assert done.returncode == 0, done.stderr
    booked, again, canceled = done.stdout.splitlines()
    assert re.fullmatch(r"booked [0-9a-f-]{36} at \d{4}-\d\d-\d\dT\d\d:\d\d:00[+-]\d\d:\d\d", booked)
    assert again == "again: SLOT_ALREADY_BOOKED"
    assert canceled == "now APPOINTMENT_STATUS_CANCELED, version 2"


def test_the_typescript_client_keeps_what_its_types_promise() -> None:
    """The declarations compile under the strictest rules, right uses pass, wrong ones are found."""
    done = run_node("node_modules/typescript/bin/tsc", "--project", "tsconfig.json")
    assert done.returncode == 0, done.stdout + done.stderr
