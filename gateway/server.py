"""uvicorn as a part of the process, with the limits that it does not have itself."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from chassis.config import ConfigError, Listen
from chassis.lifecycle import Fatal
from chassis.settings import TlsSettings
from gateway.exchange import SECURITY_HEADERS
from gateway.realtime.direct import DirectWebSocketProtocol
from gateway.refusals import Refusal
from gateway.settings import HttpSettings
from gateway.sse import TRANSPORT

_log = structlog.get_logger(__name__)
_access_log = structlog.get_logger("gateway.access")

_BACKLOG = 2_048
_SEND_BUFFER_BYTES = 131_072
_UNREAD_MS_MAX = 60_000
_STARTED_POLL_S = 0.01
_DATE_S = 1.0
_WEBSOCKET_BYTES_MAX = 65_536


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with bounds on connections, header count and size, and how long a client may leave a request unfinished.

    A body that nobody waits for any more has its time too: a refusal may come before the body does.
    """

    limits: HttpSettings
    new_id: Callable[[], str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        # Refused, or a WebSocket: what comes is not HTTP any more.
        self._is_over = False
        self._is_in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections_max:
            _log.warning("http.connections_full", limit=self.limits.connections_max)
            transport.close()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the connection is already refused; there is always something that ends a wait."""
        if self._is_over:
            return
        super().data_received(data)
        if self._is_over:
            return
        # Most heads come whole: those that do need no timer.
        if self._is_in_head:
            if self._head_timer is None:
                self._await_head()
        elif self._is_idle and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    @property
    def _is_idle(self) -> bool:
        """Whether the last request is here and answered."""
        return self.cycle is not None and self.cycle.response_complete and not self.cycle.more_body

    def on_response_complete(self) -> None:
        """The answer is written; what is missing of its request has as long as any body."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._body_timer = self.loop.call_later(
                self.limits.body_timeout_ms / 1_000, self.timeout_keep_alive_handler
            )

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over, unless its head was refused."""
        if not self._is_over:
            self._is_over = True
            super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        """A request begins: its head has a budget of bytes and time."""
        super().on_message_begin()
        self._head_bytes = 0
        self._is_in_head = True

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        super().on_header(name, value)
        self._count(len(name) + len(value) + 4)

    def on_headers_complete(self) -> None:
        """The head is there; a refused one goes no further."""
        self._is_in_head = False
        self._disarm()
        if self.parser.get_http_version() != "1.0" and sum(name == b"host" for name, _ in self.headers) != 1:
            self.send_400_response("")
        if not self._is_over:
            # A stream whose client stops reading is cut off by its own endpoint.
            self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        if not self._is_over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand on the body's end."""
        if self._is_over:
            return
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle.more_body = False
            self._disarm()

    def _count(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > self.limits.header_bytes_max or len(self.headers) > self.limits.headers_max:
            self._refuse(431, "HEADERS_TOO_LARGE", "The request's headers are too many or too large.")

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.header_timeout_ms / 1_000, self._on_slow_head)

    def _disarm(self) -> None:
        for timer in (self._head_timer, self._body_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._body_timer = None

    def _on_slow_head(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(408, "REQUEST_TIMEOUT", "The request's headers did not arrive in time.")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words stay inside
        """Refuse what is not HTTP in the form of every other refusal."""
        self._refuse(400, "INVALID_ARGUMENT", "The request is not well-formed HTTP.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer without the application, and close: what follows on this connection cannot be trusted."""
        if self._is_over or self.transport.is_closing():
            return
        self._is_over = True
        self._disarm()
        request_id = self.new_id()
        self.transport.write(_refusal(Refusal(status, code, message), request_id))
        self.transport.close()
        _access_log.info("http.refused", status=status, reason=code, request_id=request_id)


def _refusal(refusal: Refusal, request_id: str) -> bytes:
    """A whole answer with the headers that every answer has."""
    reply = refusal.reply(request_id)
    headers = [
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()),
        (b"content-length", b"%d" % len(reply.body)),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode("latin-1")),
        *SECURITY_HEADERS,
    ]
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    return STATUS_LINE[refusal.status] + lines + b"\r\n" + reply.body


def bounded_protocol(limits: HttpSettings, new_id: Callable[[], str]) -> type[BoundedProtocol]:
    """The protocol class with these limits: uvicorn makes the instances itself."""
    return type("GatewayProtocol", (BoundedProtocol,), {"limits": limits, "new_id": staticmethod(new_id)})


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, handshake_timeout_s: float) -> None:
        super().__init__(config)
        self.handshake_timeout_s = handshake_timeout_s
        self._ending = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the process: it drains everything in its own order."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve `sockets`; uvicorn's own way gives a TLS handshake a whole minute."""
        config = self.config
        timeout_s = self.handshake_timeout_s if config.ssl else None
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._protocol,
                sock=listener,
                backlog=config.backlog,
                ssl=config.ssl,
                ssl_handshake_timeout=timeout_s,
            )
            for listener in sockets or ()
        ]
        self.started = True

    async def main_loop(self) -> None:
        """Serve until `end`; uvicorn's own way looks ten times a second for whether it shall."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_DATE_S):
                    await self._ending.wait()

    def end(self) -> None:
        """Let `serve` stop serving and return."""
        self.should_exit = True
        self._ending.set()

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


class HttpServer:
    """Serves an ASGI application; `port` is the real one once it has started."""

    name = "http"

    def __init__(
        self,
        app: ASGIApp,
        settings: HttpSettings,
        tls: TlsSettings,
        *,
        drain_ms: int,
        new_id: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._listen = settings.listen
        self._tls = tls
        config = uvicorn.Config(
            app,
            http=bounded_protocol(settings, new_id),
            ws=DirectWebSocketProtocol,
            ws_max_size=_WEBSOCKET_BYTES_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=settings.keep_alive_ms // 1_000,
            # Half of the drain: the rest is for what stops after this.
            timeout_graceful_shutdown=max(1, drain_ms // 2_000),
        )
        self._server = _Server(config, settings.header_timeout_ms / 1_000)
        self._config = config
        self._task: asyncio.Task[None] | None = None
        self.port = self._listen.port

    async def start(self) -> None:
        """Listen. Raises Fatal when the port is taken, ConfigError when TLS cannot be set up."""
        self._config.load()
        if self._settings.tls:
            self._config.ssl = _tls_context(self._tls)
        listener = _bind(self._listen)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve([listener]), name="http server")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise Fatal("The HTTP server ended while it started.")
            await asyncio.sleep(_STARTED_POLL_S)
        _log.info("http.listening", port=self.port)

    async def stop(self) -> None:
        """Take no new connection, finish what runs, close the others."""
        task, self._task = self._task, None
        if task is not None:
            self._server.end()
            await task


def _bind(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit both: what the kernel keeps for a client that does not read, and for how long.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS_MAX)
    try:
        listener.bind((listen.host, listen.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Fatal(f"The gateway cannot listen on {listen}: {error.strerror}.") from error
    listener.setblocking(False)
    return listener


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    if tls.certificate_file is None or tls.key_file is None:
        raise ConfigError(
            "MEDFORALL_HTTP_TLS is on; MEDFORALL_TLS_CERT_FILE and MEDFORALL_TLS_KEY_FILE must both be set."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(_readable(tls.certificate_file), _readable(tls.key_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The TLS certificate and key cannot be used: {error}.") from error
    return context


def _readable(path: Path) -> str:
    return str(path)
