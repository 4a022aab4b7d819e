"""What the gateway knows of clinics, from the directory: their own rate limit; whether search is public."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import grpc
import structlog
from medforall.directory.v1 import directory_pb2

from chassis.auth.principal import Principal
from chassis.tasks import end_tasks
from gateway.authentication import AUTHORIZATION
from gateway.upstreams import Invoke

_log = structlog.get_logger(__name__)

ValueT = TypeVar("ValueT")

_CLINICS_MAX = 10_000
_OPEN_FOR_S = 30.0
# So soon does a limit hold after it was changed.
_LIMIT_FOR_S = 10.0
_LIMIT_RETRY_S = 5.0
_TIMEOUT_S = 2.0
_CLOSED = frozenset(
    (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED)
)


class _Recent(Generic[ValueT]):
    """Values by clinic, each until its time; bounded, the oldest is forgotten first."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._values: OrderedDict[str, tuple[ValueT, float]] = OrderedDict()

    def get(self, clinic_id: str) -> tuple[ValueT | None, bool]:
        """The value (perhaps of before) and whether it is still good."""
        entry = self._values.get(clinic_id)
        return (None, False) if entry is None else (entry[0], self._now_s() < entry[1])

    def put(self, clinic_id: str, value: ValueT, for_s: float) -> None:
        self._values[clinic_id] = (value, self._now_s() + for_s)
        self._values.move_to_end(clinic_id)
        while len(self._values) > _CLINICS_MAX:
            self._values.popitem(last=False)


class PublicSearch:
    """Knows which clinics answer callers without a token: whose public page exists, asked every 30 s."""

    def __init__(self, get_public_clinic: Invoke, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._ask = get_public_clinic
        self._known: _Recent[bool] = _Recent(now_s)

    async def is_open(self, clinic_id: str) -> bool:
        """Whether the clinic opened its search. Raises grpc.aio.AioRpcError when nobody can say."""
        known, is_good = self._known.get(clinic_id)
        if known is not None and is_good:
            return known
        is_open = await self._look(clinic_id)
        self._known.put(clinic_id, is_open, _OPEN_FOR_S)
        return is_open

    async def _look(self, clinic_id: str) -> bool:
        request = directory_pb2.GetPublicClinicRequest(clinic_id=clinic_id)
        try:
            await self._ask(request, _TIMEOUT_S, grpc.aio.Metadata())
        except grpc.aio.AioRpcError as error:
            if error.code() in _CLOSED or error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                return False
            raise
        return True


class ClinicLimits:
    """The clinics' own requests a minute, learnt beside their callers' calls, whatever those may read.

    No call waits for it: until a clinic's limit is known, the default holds.
    """

    name = "clinic limits"

    def __init__(
        self, get_clinic_limits: Invoke, *, default_per_min: int, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = get_clinic_limits
        self._default = default_per_min
        self._known: _Recent[int] = _Recent(now_s)
        self._asking: dict[str, asyncio.Task[None]] = {}

    def per_min(self, clinic_id: str) -> int:
        """Requests a minute of all users of this clinic."""
        known, _ = self._known.get(clinic_id)
        return known or self._default

    def learn(self, principal: Principal, authorization: str) -> None:
        """Use the chance that somebody of this clinic calls."""
        clinic_id = principal.clinic_id
        _, is_good = self._known.get(clinic_id)
        if is_good or not clinic_id or clinic_id in self._asking:
            return
        task = asyncio.create_task(self._look(clinic_id, authorization), name=f"clinic limit {clinic_id}")
        self._asking[clinic_id] = task
        task.add_done_callback(lambda _: self._asking.pop(clinic_id, None))

    async def start(self) -> None:
        """Do nothing: limits are learnt as calls come."""

    async def stop(self) -> None:
        """End what is being asked."""
        await end_tasks(*self._asking.values())

    async def _look(self, clinic_id: str, authorization: str) -> None:
        request = directory_pb2.GetClinicLimitsRequest(clinic_id=clinic_id)
        known, _ = self._known.get(clinic_id)
        try:
            reply = await self._ask(request, _TIMEOUT_S, grpc.aio.Metadata((AUTHORIZATION, authorization)))
        except grpc.aio.AioRpcError as error:
            # Next chance in a while; what was known before goes on to hold.
            self._known.put(clinic_id, known or 0, _LIMIT_RETRY_S)
            _log.debug("clinic_limit.unknown", clinic_id=clinic_id, code=error.code().name)
            return
        limits = directory_pb2.GetClinicLimitsResponse.FromString(reply)
        self._known.put(clinic_id, limits.requests_per_minute, _LIMIT_FOR_S)
