"""Background loops that are reported, backed off and restarted when they fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from chassis.tasks import end_tasks
from scheduling.errors import Unavailable

_log = structlog.get_logger(__name__)

Loop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from `first_ms` to `max_ms`, each spread over its upper half."""

    first_ms: int = 100
    max_ms: int = 5_000

    def wait_s(self, failures: int, jitter: float) -> float:
        """The wait after `failures` failures in a row (1 or more); `jitter` is in [0, 1)."""
        whole_ms: int = min(self.max_ms, self.first_ms << min(failures - 1, 20))
        return whole_ms * (0.5 + 0.5 * jitter) / 1_000


class Supervisor:
    """Keeps named loops running.

    A loop that raises is logged and started again after a growing wait. A dependency that is away
    (`Unavailable`) is waited for without end; any other failure that comes back `failures_max` times in a
    row is a defect: `on_fatal` is told, and the process ends so that its parent can start it afresh. A loop
    that ran for `healthy_s` starts counting from nothing. A loop that returns is finished.
    """

    name = "supervisor"

    def __init__(
        self,
        on_fatal: Callable[[BaseException], None] | None = None,
        *,
        backoff: Backoff | None = None,
        failures_max: int = 20,
        healthy_s: float = 30.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._on_fatal = on_fatal
        self._backoff = backoff or Backoff()
        self._failures_max = failures_max
        self._healthy_s = healthy_s
        self._jitter = jitter
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    def spawn(self, name: str, loop: Loop) -> None:
        """Run `loop` under `name` until the supervisor stops. Raises ValueError for a name in use."""
        if self._stopped:
            raise RuntimeError(f"the supervisor is stopped: {name} cannot be started")
        if name in self._tasks and not self._tasks[name].done():
            raise ValueError(f"a loop named {name} runs already")
        self._tasks[name] = asyncio.create_task(self._keep(name, loop), name=f"supervised:{name}")

    def on_fatal(self, callback: Callable[[BaseException], None]) -> None:
        """Tell `callback` of a loop that cannot be kept running; wiring hands in `Process.fail`."""
        self._on_fatal = callback

    async def start(self) -> None:
        """Do nothing: loops start as they are spawned."""

    async def stop(self) -> None:
        """Cancel every loop and wait for all of them."""
        self._stopped = True
        tasks = list(self._tasks.values())
        self._tasks.clear()
        await end_tasks(*tasks)

    async def _keep(self, name: str, loop: Loop) -> None:
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            began = clock()
            try:
                await loop()
            except Exception as error:  # noqa: BLE001 - keeping a loop alive is what this is for
                failures = 1 if clock() - began >= self._healthy_s else failures + 1
                if not self._survives(name, error, failures):
                    return
            else:
                return
            await asyncio.sleep(self._backoff.wait_s(failures, self._jitter()))

    def _survives(self, name: str, error: Exception, failures: int) -> bool:
        if isinstance(error, Unavailable):
            _log.warning("loop.waiting", loop=name, failures=failures, reason=str(error.reason))
            return True
        _log.error("loop.failed", loop=name, failures=failures, exc_info=error)
        if failures < self._failures_max:
            return True
        if self._on_fatal is not None:
            self._on_fatal(error)
        return False
