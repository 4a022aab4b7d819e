"""Both servers, called over real sockets: who may call what, and for how long."""

import base64
import json
import time
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2

from chassis.auth.signing import generate_signing_key, public_jwks, sign_token
from chassis.grpc.server import GrpcService, aio_server
from chassis.lifecycle import Fatal
from tests.integration.chassis.calls import Token, bearer, detail, outcome, refused
from tests.integration.chassis.conftest import CLINIC, OTHER_CLINIC, Served, make_parts


@pytest.mark.parametrize(
    "metadata", [(), (("authorization", "Basic x"),), (("authorization", "Bearer nope"),)]
)
async def test_no_valid_token_no_call(served: Served, echo: ModuleType, metadata: Any) -> None:
    """Without a good bearer token a call is UNAUTHENTICATED, with the reason and the request id."""
    code, status = await refused(served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC), metadata=metadata))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("UNAUTHENTICATED", "medforall.com")
    assert info.metadata["requestId"]


@pytest.mark.parametrize("changes", [{"role": "provider"}, {"scopes": []}, {"scopes": ["echo:other"]}])
async def test_role_and_scope_must_both_fit(
    served: Served, echo: ModuleType, token: Token, changes: dict[str, Any]
) -> None:
    """The method's option decides: a wrong role or none of its scopes is PERMISSION_DENIED."""
    call = served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC), metadata=bearer(token(**changes)))
    assert (await refused(call))[0] is grpc.StatusCode.PERMISSION_DENIED


async def test_any_one_scope_suffices(served: Served, echo: ModuleType, token: Token) -> None:
    """The second of a method's scopes opens it as well as the first."""
    metadata = bearer(token(scopes=["echo:write"]))
    assert (
        await served.stub.Echo(echo.EchoRequest(clinic_id=CLINIC, text="x"), metadata=metadata)
    ).text == "x"


@pytest.mark.parametrize("method", ["Echo", "Many", "Sum", "Chat"])
async def test_another_clinic_does_not_exist(
    served: Served, echo: ModuleType, token: Token, method: str
) -> None:
    """A request that names another clinic is NOT_FOUND, for every kind of method."""
    request = echo.EchoRequest(clinic_id=OTHER_CLINIC)
    streams_in = method in ("Sum", "Chat")
    call = getattr(served.stub, method)(iter([request]) if streams_in else request, metadata=bearer(token()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcome(call, streams_out=method in ("Many", "Chat"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_platform_may_name_any_clinic(served: Served, echo: ModuleType, token: Token) -> None:
    """Role platform belongs to no clinic and names the one it works on."""
    metadata = bearer(token(role="platform", clinic_id=""))
    reply = await served.stub.Echo(echo.EchoRequest(clinic_id=OTHER_CLINIC, text="x"), metadata=metadata)
    assert reply.text == "x"


async def test_anonymous_methods_take_a_token_or_none(served: Served, echo: ModuleType, token: Token) -> None:
    """An open method serves callers without a token, knows those with one, and refuses a bad one."""
    request = echo.EchoRequest(clinic_id=CLINIC)
    assert (await served.stub.Open(request)).subject == ""
    assert (await served.stub.Open(request, metadata=bearer(token()))).subject == "user-1"
    code, _ = await refused(served.stub.Open(request, metadata=bearer("bad")))
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_an_unknown_key_is_looked_up_once(served: Served, echo: ModuleType, token: Token) -> None:
    """A rotated key is found by one more read of the key set; further unknown ids cause none for a while."""
    rotated = generate_signing_key("ES256", kid="rotated")
    served.jwks["keys"] += public_jwks([rotated])["keys"]
    reads_before = len(served.reads)
    good = sign_token(
        rotated,
        subject="u2",
        role="admin",
        clinic_id=CLINIC,
        scopes=["echo:read"],
        now_s=int(time.time()),
        ttl_s=60,
    )
    request = echo.EchoRequest(clinic_id=CLINIC)
    assert (await served.stub.Echo(request, metadata=bearer(good))).subject == "u2"
    for number in range(5):
        stranger = generate_signing_key("EdDSA", kid=f"stranger-{number}")
        bad = sign_token(
            stranger, subject="u", role="admin", clinic_id=CLINIC, now_s=int(time.time()), ttl_s=60
        )
        assert (await refused(served.stub.Echo(request, metadata=bearer(bad))))[
            0
        ] is grpc.StatusCode.UNAUTHENTICATED
    assert len(served.reads) == reads_before + 1


def id_of(token: str) -> str:
    """The `jti` of a token."""
    claims = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"])


async def test_a_revoked_token_is_refused_at_once(served: Served, echo: ModuleType, token: Token) -> None:
    """A token that was verified and remembered is UNAUTHENTICATED from the moment the process knows; others are not."""
    request = echo.EchoRequest(clinic_id=CLINIC)
    made = token()
    stolen, other = bearer(made), bearer(token())
    assert (await served.stub.Echo(request, metadata=stolen)).subject == "user-1"
    served.revoked.replace({f"token:{id_of(made)}": time.time() + 60})
    code, status = await refused(served.stub.Echo(request, metadata=stolen))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert status.message == "The token was revoked."
    assert (await served.stub.Echo(request, metadata=other)).subject == "user-1"
    served.revoked.replace({f"user:{CLINIC}:user-1": time.time() + 60})
    assert (await refused(served.stub.Echo(request, metadata=other)))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_ends_with_its_token(
    served: Served, kind: str, echo: ModuleType, token: Token
) -> None:
    """An open stream is closed when the token that opened it expires."""
    if kind == "threads":
        pytest.skip("a thread that waits cannot be interrupted; it is refused at its next message")
    metadata = bearer(token(ttl_s=2))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await outcome(
            served.stub.Many(echo.EchoRequest(clinic_id=CLINIC, text="wait"), metadata=metadata),
            streams_out=True,
        )
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_method_that_nobody_guards_is_not_served(echo: ModuleType) -> None:
    """A contract that does not say who may call a method stops the server from starting."""
    service = GrpcService(
        echo.DESCRIPTOR.services_by_name["UnguardedService"],
        echo.stubs.add_UnguardedServiceServicer_to_server,
        object(),
    )
    with pytest.raises(Fatal, match="UnguardedService/Leak"):
        aio_server([service], make_parts(lambda: b"{}"))


async def test_missing_keys_are_one_sentence(echo: ModuleType) -> None:
    """A server that cannot read its key set does not start."""
    server = aio_server([], make_parts(lambda: json.dumps({"keys": []}).encode()))
    with pytest.raises(Fatal, match="keys that verify tokens"):
        await server.start()
