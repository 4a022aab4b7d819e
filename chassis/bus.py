"""NATS JetStream: connecting and streams. Sending is in `publishing`, reading in `consumers`.

A connection that is lost is sought for as long as the process lives. While it is away every method raises
Unavailable at once; nothing is queued in memory, because the outbox is the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors

from chassis.publishing import GONE, Outcome, OutgoingMessage, Publisher, unavailable
from chassis.settings import NatsSettings
from chassis.streams import StreamSpec
from chassis.tasks import end_tasks
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)

_RECONNECT_WAIT_S = 0.5
_CONNECT_PAUSE_S = 1.0
# A line that is silent is lost after two pings without an answer.
_PING_EVERY_S = 10
# Nothing may wait in the client while it is disconnected: a caller is told at once instead.
_PENDING_BYTES_MAX = 4_194_304


class Bus:
    """One connection to NATS, kept up in the background from `start` on."""

    name = "bus"

    def __init__(self, settings: NatsSettings, *, client_name: str) -> None:
        self._settings = settings
        self._client_name = client_name
        self._client = Client()
        self._stream_context: JetStreamContext | None = None
        self._publisher: Publisher | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_ready = asyncio.Event()
        self._is_stopping = False
        self._when_lost: set[Callable[[], None]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent at this moment."""
        return self._is_ready.is_set() and self._client.is_connected

    @property
    def client(self) -> Client:
        """The connected client. Raises Unavailable."""
        if not self.is_connected:
            raise Unavailable("The message bus is away.")
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """The connected JetStream context. Raises Unavailable."""
        if not self.is_connected or self._stream_context is None:
            raise Unavailable("The message bus is away.")
        return self._stream_context

    async def start(self) -> None:
        """Begin to connect.

        Returns when connected, or after one connection timeout with the search going on.
        """
        self._is_stopping = False
        self._connecting = asyncio.create_task(self._connect(), name="bus:connect")
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1_000):
                await self._is_ready.wait()
        except TimeoutError:
            _log.warning("bus.not_connected_yet")

    async def wait_connected(self, timeout_ms: int) -> None:
        """Return once connected. Raises Unavailable after `timeout_ms`."""
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._is_ready.wait()
        except TimeoutError:
            raise Unavailable("The message bus is away.") from None

    def when_lost(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` each time the connection is lost; what is returned ends that."""
        self._when_lost.add(listener)
        return lambda: self._when_lost.discard(listener)

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        self._is_stopping = True
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            await end_tasks(connecting)
        self._is_ready.clear()
        if not self._client.is_closed:
            await self._client.close()

    async def ensure_streams(self, streams: Sequence[StreamSpec]) -> None:
        """Create the streams that are missing and bring the others up to date. Raises Unavailable."""
        for stream in streams:
            config = stream.config(self._settings.replicas)
            try:
                try:
                    await self.jetstream.update_stream(config)
                except js_errors.NotFoundError:
                    await self.jetstream.add_stream(config)
            except js_errors.BadRequestError:
                raise
            except GONE as error:
                raise unavailable(error) from error

    async def publish_all(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send many, each stream's in their order; for each its acknowledgement, Unavailable or Rejected."""
        if not self.is_connected or self._publisher is None:
            return [Unavailable("The message bus is away.") for _ in messages]
        return await self._publisher.publish_all(messages)

    async def bounds(self, stream: str) -> tuple[int, int]:
        """The first and last sequence that a stream holds.

        (n + 1, n) when it is empty. Raises Unavailable.
        """
        try:
            state = (await self.jetstream.stream_info(stream)).state
        except GONE as error:
            raise unavailable(error) from error
        return state.first_seq, state.last_seq

    async def check(self) -> None:
        """Ask JetStream for a sign of life. Raises Unavailable."""
        try:
            await self.jetstream.account_info()
        except GONE as error:
            raise unavailable(error) from error

    async def _connect(self) -> None:
        while True:
            try:
                await self._client.connect(
                    [url.strip() for url in self._settings.url.split(",")],
                    name=self._client_name,
                    connect_timeout=max(1, self._settings.connect_timeout_ms // 1_000),
                    reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]
                    max_reconnect_attempts=-1,
                    pending_size=_PENDING_BYTES_MAX,
                    error_cb=_on_error,
                    disconnected_cb=self._lost,
                    closed_cb=partial(self._closed, self._client),
                    ping_interval=_PING_EVERY_S,
                    reconnected_cb=_on_reconnected,
                )
                context = self._client.jetstream(timeout=self._settings.ack_timeout_ms / 1_000)
                await context.account_info()
                publisher = Publisher(self._client, self._settings.ack_timeout_ms)
                await publisher.start()
            except (*GONE, ValueError) as error:
                _log.warning("bus.connect_failed", error_type=type(error).__name__)
                await self._start_over()
            else:
                self._stream_context, self._publisher = context, publisher
                self._is_ready.set()
                return

    async def _lost(self) -> None:
        if self._is_ready.is_set():  # else it is this process that ends the connection
            _log.warning("bus.disconnected")
        if self._publisher is not None:
            self._publisher.lose()
        for listener in tuple(self._when_lost):
            listener()

    async def _closed(self, client: Client) -> None:
        """Connect anew when the server has ended the connection in a way after which the client seeks it no more."""
        if self._is_stopping or client is not self._client or not self._is_ready.is_set():
            return
        _log.error("bus.closed")
        self._is_ready.clear()
        self._client = Client()
        self._connecting = asyncio.create_task(self._connect(), name="bus:connect")

    async def _start_over(self) -> None:
        failed, self._client = self._client, Client()
        await asyncio.gather(failed.close(), return_exceptions=True)
        await asyncio.sleep(_CONNECT_PAUSE_S)


async def _on_error(error: Exception) -> None:
    _log.warning("bus.error", error_type=type(error).__name__)


async def _on_reconnected() -> None:
    _log.info("bus.reconnected")
