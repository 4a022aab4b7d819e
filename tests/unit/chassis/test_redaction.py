"""What may be logged: known keys, and no patient data in any text."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from chassis.auth.principal import Principal, Role
from chassis.grpc.context import CallContext, use_call
from chassis.logging import configure_logging
from chassis.redaction import scrub_mapping, scrub_text
from chassis.tracing import use_traceparent

CANARIES = (
    "Jane Q. Doe",
    "jane.doe@example.com",
    "+1 (415) 555-2671",
    "415-555-2671",
    "(415) 555-2671",
    "1980-02-29",
    "02/29/1980",
    "29.02.1980",
    "078-05-1120",
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl",
    "s3cr3t-hunter2",
)


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What has been logged, parsed; logging is put back afterwards."""
    out = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging(service="svc", environment="test", level="debug", stream=out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False


@pytest.mark.parametrize(
    "text",
    [
        "mail jane.doe@example.com bounced",
        "call +1 (415) 555-2671 or 415-555-2671 or (415) 555-2671",
        "born 1980-02-29, that is 02/29/1980 or 29.02.1980",
        "born 1980-02-29 00:00:00",
        "ssn 078-05-1120",
        "Authorization: Bearer s3cr3t-hunter2",
        "got eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl there",
        "postgresql://app:s3cr3t-hunter2@db:5432/x",
        "password='s3cr3t-hunter2'",
        "DETAIL:  Key (clinic_id, full_name)=(018f, Jane Q. Doe) already exists.",
        'DETAIL:  Key (full_name)=(Jane Q. Doe (Janie)) is not present in table "patient".',
        "Key (phone)=(4155552671)",
        "DETAIL:  Failing row contains (018f, Jane Q. Doe, 1980-02-29, null).",
        'invalid input syntax for type uuid: "Jane Q. Doe"',
        "CONTEXT: portal with parameters: $1 = 'Jane Q. Doe'",
        "{'patient_name': 'Jane Q. Doe', 'dob': datetime.date(1980, 2, 29)}",
        '{"firstName": "Jane Q. Doe", "notes": "Jane Q. Doe is ill"}',
        "Patient(full_name='Jane Q. Doe', id='x')",
    ],
)
def test_patterns_catch_what_keys_cannot(text: str) -> None:
    """Phones, mails, birth dates, tokens, passwords and quoted rows are taken out of free text."""
    scrubbed = scrub_text(text)
    for canary in (*CANARIES, "4155552671", "Janie", "1980"):
        assert canary not in scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "018f0000-0000-7000-8000-000000000001",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "2026-11-22T10:30:00.123Z",
        "2026-11-22 10:30:00+00:00",
        "/medforall.booking.v1.BookingService/CreateAppointment",
        "127.0.0.1:50051",
        "duration 12.345678 s, 1234567890 rows",
        'constraint "claim_no_overlap" is violated',
        "appointment_2026_11",
        "version 10.0.1",
    ],
)
def test_what_operators_need_stays(text: str) -> None:
    """Ids, instants, methods, addresses and names of constraints are left as they are."""
    assert scrub_text(text) == text


def test_unknown_keys_are_dropped_but_named() -> None:
    """Only listed keys pass, at every depth; of the others the name remains."""
    scrubbed = scrub_mapping({"clinic_id": "c", "full_name": "Jane", "metadata": {"rows": 3, "dob": "x"}})
    assert scrubbed == {
        "clinic_id": "c",
        "metadata": {"rows": 3, "dropped_keys": ["dob"]},
        "dropped_keys": ["full_name"],
    }


@pytest.mark.parametrize(
    "hostile",
    ["a" * 100_000, "1" * 100_000, "key (" * 20_000, "token='" * 15_000, "@a." * 30_000, "name=" * 20_000],
)
def test_hostile_text_costs_little(hostile: str) -> None:
    """No input makes the patterns run away, and no line grows without bound."""
    began = time.process_time()
    assert len(scrub_text(hostile)) < 2_200
    assert time.process_time() - began < 0.5


def test_lines_have_the_documented_format(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """One JSON object a line, with the ids of the call and its trace; the rest is metadata."""
    principal = Principal(subject="user-1", role=Role.ADMIN, clinic_id="clinic-1")
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call = CallContext(request_id="req-1", method="/a.B/C", principal=principal)
    with use_call(call), use_traceparent(traceparent):
        structlog.get_logger("x").info("slots.found", duration_ms=4.5, rows=12, cache_hit=True)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "service": "svc",
        "environment": "test",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "request_id": "req-1",
        "clinic_id": "clinic-1",
        "user_id": "user-1",
        "duration_ms": 4.5,
        "message": "slots.found",
        "metadata": {"rows": 12, "cache_hit": True},
    }


def test_no_patient_data_survives_a_traceback(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Whatever an exception says, chained ones and notes included, the log says none of it."""

    def fail() -> None:
        try:
            raise KeyError(  # noqa: TRY301 - a chain of two is the point
                "DETAIL: Key (full_name, phone)=(Jane Q. Doe, 415-555-2671) already exists."
            )
        except KeyError as cause:
            error = ValueError("jane.doe@example.com born 1980-02-29, password=s3cr3t-hunter2")
            error.add_note("Failing row contains (Jane Q. Doe, +1 (415) 555-2671).")
            raise error from cause

    log = structlog.get_logger("x")
    try:
        fail()
    except ValueError:
        log.exception("it.failed", full_name="Jane Q. Doe", error="078-05-1120")
        logging.getLogger("grpc").exception("call of jane.doe@example.com failed")
    ours, theirs = lines()
    assert "ValueError" in ours["exception"]
    assert "test_redaction.py" in ours["exception"]
    assert ours["metadata"]["dropped_keys"] == ["full_name"]
    assert theirs["metadata"]["logger"] == "grpc"
    for canary in CANARIES:
        assert canary not in json.dumps([ours, theirs])


def test_libraries_log_in_our_format(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Lines of the standard library's loggers come out as JSON, without their access logs."""
    logging.getLogger("nats").warning("reconnecting to %s", "nats://user:s3cr3t-hunter2@host:4222")
    logging.getLogger("uvicorn.access").info("GET /v1/x?token=abc")
    (line,) = lines()
    assert line["level"] == "warning"
    assert line["service"] == "svc"
    assert "s3cr3t" not in line["message"]


def test_lines_are_bounded(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A line stays under 16 KiB however much is thrown at it."""

    def recurse(depth: int) -> None:
        if depth == 0:
            raise ValueError("x " * 50_000)
        recurse(depth - 1)

    try:
        recurse(200)
    except ValueError:
        structlog.get_logger("x").exception("it.failed", metadata={"rows": ["y " * 2_000] * 40})
    (line,) = lines()
    assert len(json.dumps(line)) < 20_000
    assert "ValueError" in line["exception"]
