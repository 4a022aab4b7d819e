"""The stream to realtime_svc: kept up, and gone on with where it broke."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from medforall.realtime.v1 import realtime_pb2 as wire
from medforall.realtime.v1 import realtime_pb2_grpc

from chassis.supervisor import Backoff
from chassis.tasks import end_tasks
from gateway.realtime.feeds import Feeds
from gateway.realtime.instruments import Instruments

_log = structlog.get_logger(__name__)

_SILENCE_MAX_S: Final = 15.0
_HEALTHY_S: Final = 10.0
_REQUESTS_MAX: Final = 100_000
_PRESENCE_BATCH: Final = 500


class Link:
    """Runs the stream and the presence reports of this gateway."""

    name = "realtime link"

    def __init__(
        self,
        channel: grpc.aio.Channel,
        token: Callable[[], str],
        instruments: Instruments,
        *,
        gateway_id: str,
        clinic_channels_max: int,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._stub = realtime_pb2_grpc.RealtimeServiceStub(channel)
        self._token = token
        self._instruments = instruments
        self._gateway_id = gateway_id
        self.clinic_channels_max = clinic_channels_max
        self._jitter = jitter
        self._backoff = Backoff(first_ms=50, max_ms=1_000)
        self._requests: asyncio.Queue[wire.ConnectRequest] = asyncio.Queue()
        self._present: Counter[tuple[str, str]] = Counter()
        self._changed: set[tuple[str, str]] = set()
        self._report_timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._streams = 0
        self._overrun = asyncio.Event()
        self.is_up = False
        self.feeds = Feeds(self._say)

    async def start(self) -> None:
        """Begin to connect; the gateway serves meanwhile, and subscriptions wait for the stream."""
        self._running = asyncio.create_task(self._run(), name="realtime:link")

    async def stop(self) -> None:
        """Close the stream."""
        running, self._running = self._running, None
        if running is not None:
            await end_tasks(running)

    def arrive(self, clinic_id: str, user_id: str) -> None:
        """Count a connection."""
        self._count(clinic_id, user_id, 1)

    def depart(self, clinic_id: str, user_id: str) -> None:
        """Count a connection less."""
        self._count(clinic_id, user_id, -1)

    def connections_of(self, clinic_id: str, user_id: str) -> int:
        """How many connections a user has here."""
        return self._present[clinic_id, user_id]

    def _count(self, clinic_id: str, user_id: str, change: int) -> None:
        place = (clinic_id, user_id)
        self._present[place] += change
        self._changed.add(place)
        if self._report_timer is None:
            self._report_timer = asyncio.get_running_loop().call_later(0.05, self._report)

    def _report(self) -> None:
        """Tell who came and who went; together, because many come and go at once."""
        self._report_timer = None
        changed, self._changed = list(self._changed), set()
        for at in range(0, len(changed), _PRESENCE_BATCH):
            batch = changed[at : at + _PRESENCE_BATCH]
            users = [
                wire.PresentUser(
                    clinic_id=clinic_id, user_id=user_id, connections=self._present[clinic_id, user_id]
                )
                for clinic_id, user_id in batch
            ]
            self._say(wire.ConnectRequest(presence=wire.PresenceReport(users=users)))
        for place in changed:
            if not self._present[place]:
                del self._present[place]

    def _say(self, request: wire.ConnectRequest) -> None:
        if self._overrun.is_set() or not self.is_up:
            return
        self._requests.put_nowait(request)
        if self._requests.qsize() > _REQUESTS_MAX:
            self._overrun.set()

    async def _run(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._serve()
            except grpc.aio.AioRpcError as error:
                _log.warning("link.broken", code=error.code().name, reason=error.details())
            except (TimeoutError, OSError, ValueError) as error:
                _log.warning("link.broken", code=type(error).__name__, reason=str(error))
            except Exception as error:  # noqa: BLE001
                # Whatever it was, every client of this gateway waits for the next stream.
                _log.error("link.failed", exc_info=error)
            self._instruments.link_up.set(0)
            failures = 1 if loop.time() - began > _HEALTHY_S else failures + 1
            await asyncio.sleep(self._backoff.wait_s(failures, self._jitter()))

    async def _serve(self) -> None:
        """Connect, join everything, and apply what comes until the stream breaks."""
        self._requests = asyncio.Queue()
        self._overrun.clear()
        call: Any = self._stub.Connect(metadata=(("authorization", f"Bearer {self._token()}"),))
        tasks: list[asyncio.Task[Any]] = []
        try:
            await call.wait_for_connection()
            self._go_up()
            listening = asyncio.create_task(self._listen(call))
            overrun = asyncio.create_task(self._overrun.wait())
            tasks = [listening, overrun, asyncio.create_task(_send_all(call, self._requests))]
            await asyncio.wait((listening, overrun), return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
            else:
                raise TimeoutError("realtime_svc does not read what it is told")
        finally:
            self._go_down()
            await end_tasks(*tasks)
            call.cancel()

    async def _listen(self, call: Any) -> None:
        """Apply what comes; return when the stream ends well."""
        while True:
            async with asyncio.timeout(_SILENCE_MAX_S):
                item = await call.read()
            if item is grpc.aio.EOF:
                await _raise_status(call)
                return
            self.feeds.on_item(item)

    def _go_up(self) -> None:
        self.is_up = True
        self._instruments.link_up.set(1)
        self._streams += 1
        self._say(wire.ConnectRequest(hello=wire.Hello(gateway_id=self._gateway_id, stream=self._streams)))
        self._changed.update(self._present)
        self._report()
        self.feeds.on_up()
        _log.info("link.up", count=self.feeds.clinic_count)

    def _go_down(self) -> None:
        if self.is_up:
            self.is_up = False
            self.feeds.on_down()


async def _send_all(call: Any, requests: asyncio.Queue[wire.ConnectRequest]) -> None:
    """Write requests as they come; when the stream breaks, its reader says so."""
    while True:
        await call.write(await requests.get())


async def _raise_status(call: Any) -> None:
    """Raise what ended the stream, unless it ended well."""
    if await call.code() is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            await call.code(),
            await call.initial_metadata(),
            await call.trailing_metadata(),
            await call.details(),
        )


def token_reader(path: Path | None) -> Callable[[], str]:
    """A function that reads the gateway's token anew each time: it may have been replaced.

    It raises OSError.
    """

    def read() -> str:
        if path is None:
            raise FileNotFoundError("MEDFORALL_REALTIME_TOKEN_FILE is not set")
        return path.read_text().strip()

    return read
