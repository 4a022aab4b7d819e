"""How a process starts, runs until a signal, and drains.

A process is an ordered list of services. They start in order; when one fails to start, those before it are
stopped and the failure is reported. They stop in reverse order, all of it within one bounded drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NoReturn, Protocol, runtime_checkable

import structlog

from chassis.config import ConfigError

_log = structlog.get_logger(__name__)

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2

# The collector's thresholds: how many more containers are made than freed before it looks at the youngest, and after
# how many of such looks at the older ones. Python's defaults are 700, 10 and 10. A call leaves little behind (gRPC's
# own five objects), so looks at the youngest can be many and short.
_COLLECT_AFTER = (4_000, 50, 100)


@runtime_checkable
class Service(Protocol):
    """A part of a process that can be started and stopped; stopping twice is safe."""

    @property
    def name(self) -> str:
        """A short name for logs."""
        ...

    async def start(self) -> None:
        """Return once the part serves; raise Fatal (one sentence) when it cannot."""
        ...

    async def stop(self) -> None:
        """Stop taking work, finish what runs, release everything."""
        ...


class Fatal(Exception):
    """The process cannot go on; the message is one sentence for the operator."""


class Process:
    """Runs services until a signal, a fatal error or `request_stop`."""

    def __init__(
        self, name: str, services: Sequence[Service], *, drain_ms: int = 10_000, start_ms: int = 60_000
    ) -> None:
        self.name = name
        self._services = tuple(services)
        self._started: list[Service] = []
        self._drain_s = drain_ms / 1_000
        self._start_s = start_ms / 1_000
        self._wake = asyncio.Event()
        self._fatal: BaseException | None = None

    def request_stop(self) -> None:
        """Ask the process to drain and end; may be called many times."""
        self._wake.set()

    def fail(self, error: BaseException) -> None:
        """End the process because `error` cannot be survived: for supervisors."""
        self._fatal = self._fatal or error
        self._wake.set()

    async def start(self) -> None:
        """Start every service in order, or stop those already started and raise."""
        for service in self._services:
            try:
                async with asyncio.timeout(self._start_s):
                    await service.start()
            except BaseException as error:
                await self.stop()
                if isinstance(error, TimeoutError):
                    raise Fatal(f"{service.name} did not start within {self._start_s:g} s.") from error
                raise
            self._started.append(service)
            _log.info("service.started", part=service.name)

    async def stop(self) -> None:
        """Stop what was started, in reverse order, within the drain time as a whole."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._drain_s
        while self._started:
            service = self._started.pop()
            try:
                async with asyncio.timeout(max(0.5, ends_at - loop.time())):
                    await service.stop()
            except TimeoutError:
                _log.warning("service.stop_timed_out", part=service.name)
            except Exception:  # noqa: BLE001 - reported
                # One part that cannot stop must not keep the others from stopping.
                _log.exception("service.stop_failed", part=service.name)

    async def run(self) -> None:
        """Start, wait for SIGTERM, SIGINT or `request_stop`, drain. Raises what `fail` was given."""
        with _signals(self.request_stop):
            await self.start()
            _settle_memory()
            _log.info("process.ready", part=self.name)
            try:
                await self._wake.wait()
            finally:
                _log.info("process.draining", part=self.name)
                await self.stop()
        if self._fatal is not None:
            raise self._fatal


def _settle_memory() -> None:
    """Keep what lives as long as the process out of the garbage collector's sight.

    Modules, contracts and wiring are hundreds of thousands of objects, and what searches remember is as many: each full
    collection walked them all and stopped every thread for 70 to 130 ms. What calls make is freed by reference counts;
    cycles are looked for less often than by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handled = (signal.SIGTERM, signal.SIGINT)
    for number in handled:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


Wiring = Callable[[Mapping[str, str]], Awaitable[Process]]


def main(wire: Wiring) -> NoReturn:
    """Run the process that `wire` builds from the environment; exit 0, or say one sentence and exit non-zero.

    2 means that a setting is wrong, 1 that something failed.
    """
    sys.exit(run(wire, os.environ))


def run(wire: Wiring, environ: Mapping[str, str]) -> int:
    """Run the process that `wire` builds from `environ` and return its exit code."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_build_and_run(wire, environ))
    except ConfigError as error:
        return _say(str(error), EXIT_MISCONFIGURED)
    except Fatal as error:
        return _say(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - reported, and the exit code says so
        _log.exception("process.crashed")
        return _say(
            f"Stopped by an unexpected {type(error).__name__}; the log has the whole of it.", EXIT_FAILED
        )
    return 0


async def _build_and_run(wire: Wiring, environ: Mapping[str, str]) -> None:
    process = await wire(environ)
    await process.run()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(sentence.rstrip() + "\n")
    return code
