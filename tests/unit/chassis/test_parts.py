"""The small parts: breaker, flags, fail points, clock, tracing, metrics, statuses."""

import asyncio
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import code_pb2
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis.auth.principal import Principal, Role
from chassis.breaker import CircuitBreaker
from chassis.clock import process_clock
from chassis.config import ConfigError, Listen
from chassis.failpoints import FailPoints, build_failpoints, parse_action
from chassis.flags import Flags
from chassis.grpc.client import outgoing_metadata, outgoing_timeout_s, service_config
from chassis.grpc.context import REQUEST_ID, CallContext, current_call, use_call
from chassis.interceptors.errors import code_of, status_of, trailing_metadata
from chassis.lifecycle import Fatal
from chassis.metrics import Labels, MetricsServer, build_metrics
from chassis.settings import CommonSettings, Environment
from chassis.tracing import (
    OFF,
    build_tracing,
    current_traceparent,
    extract,
    inject,
    new_traceparent,
    parse_traceparent,
    use_traceparent,
)
from scheduling import errors

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_breaker_opens_probes_and_closes() -> None:
    """Failures in a row open it; one caller probes after each pause, or the next for it; a success closes it."""
    now_s = [0.0]
    breaker = CircuitBreaker(failures_max=2, open_ms=100, now_s=lambda: now_s[0])
    breaker.failed()
    assert breaker.allows()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert breaker.is_open
    assert not breaker.allows()
    now_s[0] = 0.2
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    assert not breaker.allows()
    now_s[0] = 0.4
    assert breaker.allows()
    breaker.undecided()
    assert [breaker.is_open, breaker.allows(), breaker.allows()] == [True, True, False]
    breaker.succeeded()
    assert [breaker.is_open, breaker.allows()] == [False, True]


def test_flags_are_declared_before_they_are_changed() -> None:
    """A change turns a declared flag; an unknown one is a configuration error."""
    flags = Flags({"a": False, "b": True}, ["a", "-b"])
    assert (flags.is_on("a"), flags.is_on("b")) == (True, False)
    with pytest.raises(ConfigError, match="'c', which is not a flag"):
        Flags({"a": False}, ["c"])


async def test_failpoints_act_when_armed() -> None:
    """An armed place raises or sleeps at the passing it names, or at each; others do nothing."""
    actions = {"x": "2*raise", "y": "raise", "z": "sleep:1"}
    points = FailPoints({name: parse_action(action) for name, action in actions.items()})
    points.hit("unarmed")
    points.hit("x")
    with pytest.raises(RuntimeError, match="fail point x"):
        points.hit("x")
    points.hit("x")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="fail point y"):
            await points.hit_async("y")
    points.hit("z")
    await points.hit_async("z")


@pytest.mark.parametrize("text", ["", "boom", "sleep", "sleep:x", "kill:1", "x*kill", "0*kill", "1*1*kill"])
def test_malformed_actions_are_refused(text: str) -> None:
    """An action that nobody understands is a configuration error."""
    with pytest.raises(ConfigError, match="MEDFORALL_FAILPOINTS"):
        parse_action(text)


def test_only_tests_have_failpoints_and_a_moved_clock() -> None:
    """Outside of the environment `test` both are refused."""
    with pytest.raises(ConfigError, match="only when MEDFORALL_ENVIRONMENT is test"):
        build_failpoints(CommonSettings(failpoints="a=kill"))
    with pytest.raises(ConfigError, match="only when MEDFORALL_ENVIRONMENT is test"):
        process_clock(CommonSettings(clock_offset_ms=1))
    build_failpoints(CommonSettings(environment=Environment.TEST, failpoints="a=kill, b=2*sleep:5"))
    moved = process_clock(CommonSettings(environment=Environment.TEST, clock_offset_ms=3_600_000))
    assert timedelta(minutes=59) < moved() - datetime.now(UTC) < timedelta(minutes=61)
    assert abs(process_clock(CommonSettings())() - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "00-x",
        TRACEPARENT[:-1],
        TRACEPARENT.upper(),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        "01" + TRACEPARENT[2:],
    ],
)
def test_bad_trace_context_is_ignored(value: str | None) -> None:
    """What is not a traceparent of version 00 starts a new trace instead."""
    assert parse_traceparent(value) is None


def test_trace_context_travels_in_headers() -> None:
    """Put into headers on one side, it is taken out on the other; without one, nothing is written."""
    headers: dict[str, str] = {}
    inject(headers)
    assert headers == {}
    with use_traceparent(TRACEPARENT):
        inject(headers)
    assert extract(headers) == TRACEPARENT
    assert extract(None) is None
    assert parse_traceparent(new_traceparent()) is not None


def test_tracing_off_keeps_the_callers_trace() -> None:
    """Without an exporter no span is made, but the trace id goes on."""
    current, span = OFF.enter_server("/a.B/C", TRACEPARENT)
    assert (current, span, current_traceparent()) == (TRACEPARENT, None, TRACEPARENT)
    with OFF.span("x"):
        assert current_traceparent() == TRACEPARENT
    OFF.leave_server(None, "OK", failed=False)
    assert current_traceparent() is None


async def test_tracing_on_records_spans_without_messages() -> None:
    """Spans continue the caller's trace, nest, and carry an error's type but not its text."""
    exporter = InMemorySpanExporter()
    tracing = build_tracing(
        service="svc", environment="test", endpoint="", sample_ratio=1.0, exporter=exporter
    )
    current, span = tracing.enter_server("/a.B/C", TRACEPARENT)
    assert current.split("-")[1] == TRACEPARENT.split("-")[1]
    with pytest.raises(ValueError, match="Jane"), tracing.span("work", rows=3):
        raise ValueError("Jane")
    assert current_traceparent() == current
    tracing.leave_server(span, "INTERNAL", failed=True)
    work, server = exporter.get_finished_spans()
    assert work.parent is not None
    assert work.parent.span_id == server.context.span_id
    assert dict(work.attributes or {}) == {"rows": 3, "error.type": "ValueError"}
    assert dict(server.attributes or {})["rpc.response.status_code"] == "INTERNAL"
    assert "Jane" not in work.to_json() + server.to_json()
    await tracing.stop()
    await tracing.stop()
    assert not tracing.is_on


async def test_metrics_are_served_on_their_own_port() -> None:
    """The endpoint shows the chassis's metrics; a taken port is one sentence; stopping twice is safe."""
    metrics = build_metrics()
    metrics.rpc_duration.labels("s", "m", "OK").observe(0.01)
    server = MetricsServer(metrics, Listen("127.0.0.1", 0))
    await server.start()
    url = f"http://127.0.0.1:{server.port}/metrics"
    page = (await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())).decode()
    assert 'scheduling_rpc_duration_seconds_count{code="OK",method="m",service="s"} 1.0' in page
    assert "process_cpu_seconds_total" in page
    with pytest.raises(Fatal, match="metrics port"):
        await MetricsServer(metrics, Listen("127.0.0.1", server.port)).start()
    await server.stop()
    await server.stop()


def test_labels_are_bounded() -> None:
    """From the hundred-and-first distinct value on, every new one is `other`."""
    labels = Labels(size=2)
    assert [labels.bound(value) for value in "abcab"] == ["a", "b", "other", "a", "b"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Invalid(), code_pb2.INVALID_ARGUMENT),
        (errors.NonexistentLocalTime(), code_pb2.INVALID_ARGUMENT),
        (errors.NotFound(), code_pb2.NOT_FOUND),
        (errors.Conflict(), code_pb2.ALREADY_EXISTS),
        (errors.Stale(), code_pb2.ABORTED),
        (errors.Refused(), code_pb2.FAILED_PRECONDITION),
        (errors.Forbidden(), code_pb2.PERMISSION_DENIED),
        (errors.Unauthenticated(), code_pb2.UNAUTHENTICATED),
        (errors.Exhausted(), code_pb2.RESOURCE_EXHAUSTED),
        (errors.Unavailable(), code_pb2.UNAVAILABLE),
        (errors.Expired(), code_pb2.DEADLINE_EXCEEDED),
        (errors.Unimplemented(), code_pb2.UNIMPLEMENTED),
        (NotImplementedError(), code_pb2.UNIMPLEMENTED),
        (ValueError("x"), code_pb2.INTERNAL),
    ],
)
def test_every_kind_of_error_has_its_code(error: Exception, code: int) -> None:
    """The table of codes, whole."""
    assert code_of(error) == status_of(error, "r").code == code


def test_packed_details_stay_within_the_headers() -> None:
    """Messages that an error carries are packed as long as there is room; the reason always is."""
    error = errors.Conflict(details=[StringValue(value="x" * 1_000)] * 20)
    status = status_of(error, "r")
    assert 3 < len(status.details) < 8
    (_, packed), (_, request_id) = trailing_metadata(status, "r")
    assert len(packed) <= 6_144
    assert request_id == "r"


def test_outgoing_calls_carry_the_served_calls_context() -> None:
    """Token, request id and trace are handed on; the deadline shrinks; the idempotency key is not taken along."""
    principal = Principal(subject="u", role=Role.ADMIN, clinic_id="c")
    loop_s = CallContext(request_id="r", method="m", deadline=0.0)
    call = CallContext(
        request_id="r", method="m", principal=principal, traceparent=TRACEPARENT, authorization="Bearer t",
        idempotency_key="k",
    )  # fmt: skip
    with use_call(call):
        assert dict(outgoing_metadata()) == {
            "authorization": "Bearer t", "x-request-id": "r", "traceparent": TRACEPARENT,
        }  # fmt: skip
        assert dict(outgoing_metadata(idempotency_key="k2"))["idempotency-key"] == "k2"
        assert outgoing_timeout_s(3.0) == 3.0
        assert current_call().caller is principal
    with use_call(loop_s):
        assert outgoing_timeout_s() == 0.0
    with pytest.raises(LookupError):
        current_call()
    assert outgoing_metadata() == ()


def test_only_named_services_are_retried() -> None:
    """The retry policy stands for the services it was asked for, and within a budget."""
    assert '"service": "a.B"' in service_config(["a.B"])
    assert '"methodConfig": []' in service_config([])
    assert "retryThrottling" in service_config([])


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("0190a000-0000-7000-8000-00000000000a", True),
        ("req_12345678", True),
        ("short", False),
        ("a" * 129, False),
        ("Jane Doe 1980", False),
        ("jane@example.org", False),
        ("pati\u00ebnt-1234", False),
        ("\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", False),
        ("12345678\n", False),
    ],
)
def test_a_chosen_request_id_is_a_plain_word(given: str, is_taken: bool) -> None:
    """What a caller calls its request is logged only if it is short and of plain letters, digits and few signs."""
    assert (REQUEST_ID.fullmatch(given) is not None) == is_taken
