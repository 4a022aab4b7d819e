"""Both servers, called over real sockets: every kind of method, refusal and limit."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chassis.lifecycle import Fatal
from tests.integration.chassis.calls import Token, bearer, detail, eventually, outcome, refused, rich
from tests.integration.chassis.conftest import CLINIC, Served


async def test_a_handler_knows_its_call(served: Served, echo: ModuleType, token: Token) -> None:
    """Request id, principal, trace, idempotency key and deadline reach the handler."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = bearer(token(), x_request_id="req-12345678", traceparent=traceparent, idempotency_key="key-1")
    reply = await served.stub.Echo(
        echo.EchoRequest(clinic_id=CLINIC, text="hi"), metadata=metadata, timeout=5
    )
    assert (reply.text, reply.request_id, reply.subject) == ("hi", "req-12345678", "user-1")
    assert reply.traceparent == traceparent
    assert reply.idempotency_key == "key-1"
    assert 0 < reply.remaining_s < 5.5


async def test_a_call_without_request_id_or_deadline_gets_them(
    served: Served, echo: ModuleType, token: Token
) -> None:
    """A hostile request id is replaced, a missing deadline is the default one."""
    metadata = bearer(token(), x_request_id="<script>")
    reply = await served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC), metadata=metadata)
    assert len(reply.request_id) == 36
    assert len(reply.traceparent) == 55
    assert 9 < reply.remaining_s < 10.5


async def test_a_long_deadline_is_cut(served: Served, echo: ModuleType, token: Token) -> None:
    """Nobody may keep a unary call for longer than 30 s."""
    reply = await served.stub.Echo(
        echo.EchoRequest(clinic_id=CLINIC), metadata=bearer(token()), timeout=3_000
    )
    assert 29 < reply.remaining_s < 30.5


async def test_violations_name_fields_as_the_contract_does(
    served: Served, echo: ModuleType, token: Token
) -> None:
    """Every violation of the contract is reported, by its path, subscripts included."""
    request = echo.EchoRequest(
        clinic_id=CLINIC,
        text="x" * 1001,
        parts=[echo.Part(size_bytes=1), echo.Part(size_bytes=-1)],
        named_parts={"p": echo.Part(size_bytes=-1)},
    )
    code, status = await refused(served.stub.Echo(request, metadata=bearer(token())))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    fields = {violation.field for violation in detail(status, error_details_pb2.BadRequest).field_violations}
    assert fields == {"text", "parts[1].size_bytes", 'named_parts["p"].size_bytes'}


async def test_no_text_has_a_nul(served: Served, echo: ModuleType, token: Token) -> None:
    """A text with U+0000, which no database stores, is INVALID_ARGUMENT by name, in a map's key as well."""
    request = echo.EchoRequest(
        clinic_id=CLINIC, text="a\x00b", named_parts={"x\x00": echo.Part(size_bytes=1)}
    )
    code, status = await refused(served.stub.Echo(request, metadata=bearer(token())))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    fields = {violation.field for violation in detail(status, error_details_pb2.BadRequest).field_violations}
    assert fields == {"text", "named_parts"}


async def test_streams_are_checked_message_by_message(served: Served, echo: ModuleType, token: Token) -> None:
    """A bad message in a request stream ends the call."""
    requests = [
        echo.EchoRequest(clinic_id=CLINIC, text="a"),
        echo.EchoRequest(clinic_id=CLINIC, text="x" * 1001),
    ]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcome(served.stub.Chat(iter(requests), metadata=bearer(token())), streams_out=True)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_every_kind_of_method_serves(served: Served, echo: ModuleType, token: Token) -> None:
    """Unary and streaming, in and out."""
    requests = [echo.EchoRequest(clinic_id=CLINIC, text=text) for text in "abc"]
    metadata = bearer(token())
    many = [reply.text async for reply in served.stub.Many(requests[0], metadata=metadata)]
    chat = [reply.text async for reply in served.stub.Chat(iter(requests), metadata=metadata)]
    assert many == ["a0", "a1", "a2"]
    assert chat == ["a", "b", "c"]
    assert (await served.stub.Sum(iter(requests), metadata=metadata)).text == "abc"


async def test_domain_errors_become_rich_statuses(served: Served, echo: ModuleType, token: Token) -> None:
    """Code, reason, metadata, violations and retry delay arrive at the caller."""

    async def status_for(text: str) -> tuple[grpc.StatusCode, status_pb2.Status]:
        return await refused(
            served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC, text=text), metadata=bearer(token()))
        )

    code, status = await status_for("conflict")
    assert code is grpc.StatusCode.ALREADY_EXISTS
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.metadata["resource"]) == ("ROOM_ALREADY_BOOKED", "room")
    code, status = await status_for("invalid")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in detail(status, error_details_pb2.BadRequest).field_violations] == ["a", "b"]
    code, status = await status_for("away")
    assert code is grpc.StatusCode.UNAVAILABLE
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 2_500


@pytest.mark.parametrize("method", ["Echo", "Many"])
async def test_a_bug_tells_the_caller_nothing(
    served: Served, echo: ModuleType, token: Token, method: str
) -> None:
    """An unknown exception is INTERNAL with the request id, and nothing of what it said."""
    call = getattr(served.stub, method)(
        echo.EchoRequest(clinic_id=CLINIC, text="bug"), metadata=bearer(token())
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcome(call, streams_out=method == "Many")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    status = rich(caught.value)
    assert detail(status, error_details_pb2.ErrorInfo).reason == "INTERNAL"
    assert b"jane" not in status.SerializeToString()


async def test_an_unwritten_method_says_so(served: Served, echo: ModuleType) -> None:
    """What a base class leaves unimplemented is UNIMPLEMENTED / NOT_IMPLEMENTED, not a fault."""
    code, status = await refused(served.stub.Missing(echo.FreeRequest()))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert detail(status, error_details_pb2.ErrorInfo).reason == "NOT_IMPLEMENTED"


async def test_a_handlers_own_abort_is_kept(served: Served, echo: ModuleType, token: Token) -> None:
    """A handler that aborts by itself is not rewritten."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC, text="abort"), metadata=bearer(token()))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.DATA_LOSS, "as told")


async def test_a_full_process_refuses(serve: Callable[..., Any], echo: ModuleType, token: Token) -> None:
    """One call too many is RESOURCE_EXHAUSTED / OVERLOADED with a retry delay; the place is given back."""
    served = await serve(in_flight_max=1)
    request = echo.EchoRequest(clinic_id=CLINIC, text="wait")
    first = served.stub.Echo(request, metadata=bearer(token()))
    await served.gate.wait_entered()
    code, status = await refused(served.stub.Echo(request, metadata=bearer(token())))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert detail(status, error_details_pb2.ErrorInfo).reason == "OVERLOADED"
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 500
    served.gate.open()
    assert (await first).text == "wait"
    await eventually(lambda: served.metrics.rpc_in_flight.labels("unary")._value.get() == 0)
    assert (await served.stub.Echo(request, metadata=bearer(token()))).text == "wait"


async def test_the_queue_of_threads_is_bounded(
    serve: Callable[..., Any], kind: str, echo: ModuleType, token: Token
) -> None:
    """When all threads are busy and the queue is full, a call is refused at once instead of waiting."""
    if kind == "aio":
        pytest.skip("an aio server has no queue")
    served = await serve(threads=1, in_flight_max=2)
    request = echo.EchoRequest(clinic_id=CLINIC, text="wait")
    admitted = [served.stub.Echo(request, metadata=bearer(token())) for _ in range(3)]
    await served.gate.wait_entered()
    more = [served.stub.Echo(request, metadata=bearer(token())) for _ in range(3)]
    outcomes = asyncio.gather(*admitted, *more, return_exceptions=True)
    async with asyncio.timeout(5):
        while sum(call.done() for call in [*admitted, *more]) < 3:  # noqa: ASYNC110 - a condition with a deadline
            await asyncio.sleep(0.01)
    served.gate.open()
    codes = [error.code() for error in await outcomes if isinstance(error, grpc.aio.AioRpcError)]
    assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 3


async def test_large_messages_are_refused(served: Served, echo: ModuleType, token: Token) -> None:
    """A message over 1 MiB does not reach the handler."""
    request = echo.EchoRequest(clinic_id=CLINIC, text="x" * (1_048_576 + 1))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.Echo(request, metadata=bearer(token()))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_deadline_ends_the_work(
    serve: Callable[..., Any], kind: str, echo: ModuleType, token: Token
) -> None:
    """A call that comes without a deadline is ended by the default one."""
    served = await serve(deadline_default_ms=200)
    if kind == "threads":
        asyncio.get_running_loop().call_later(0.5, served.gate.open)
    call = served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC, text="wait"), metadata=bearer(token()))
    code, status = await refused(call)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert detail(status, error_details_pb2.ErrorInfo).reason == "DEADLINE_EXCEEDED"


async def test_health_and_reflection_need_no_token(served: Served) -> None:
    """Health knows each service; reflection lists them."""
    health = health_pb2_grpc.HealthStub(served.channel)
    for name in ("", "medforall.testing.echo.v1.EchoService"):
        reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    await served.server.set_serving(serving=False)
    reply = await health.Check(health_pb2.HealthCheckRequest())
    assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    listing = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in reflection.ServerReflectionInfo(iter([listing])):
        names = {service.name for service in answer.list_services_response.service}
        assert "medforall.testing.echo.v1.EchoService" in names
        break


async def test_stopping_lets_running_calls_finish(served: Served, echo: ModuleType, token: Token) -> None:
    """Drain: health says NOT_SERVING, the running call is answered, and stopping twice is safe."""
    health = health_pb2_grpc.HealthStub(served.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    running = served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC, text="wait"), metadata=bearer(token()))
    await served.gate.wait_entered()
    stopping = asyncio.create_task(served.server.stop())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    served.gate.open()
    assert (await running).text == "wait"
    await stopping
    await served.server.stop()


async def test_calls_are_measured_by_method_and_code(served: Served, echo: ModuleType, token: Token) -> None:
    """The histogram counts a served and a refused call under their codes."""
    await served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC), metadata=bearer(token()))
    await refused(served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC)))

    def count(code: str) -> float | None:
        labels = {"service": "medforall.testing.echo.v1.EchoService", "method": "Echo", "code": code}
        return served.metrics.registry.get_sample_value("scheduling_rpc_duration_seconds_count", labels)

    await eventually(lambda: (count("OK"), count("UNAUTHENTICATED")) == (1, 1))


async def test_a_taken_port_is_one_sentence(serve: Callable[..., Any], echo: ModuleType) -> None:
    """A second server on the same port says so and does not start."""
    first = await serve()
    from chassis.config import Listen  # noqa: PLC0415 - only here

    with pytest.raises(Fatal, match="cannot be opened"):
        await serve(listen=Listen("127.0.0.1", first.server.port))
