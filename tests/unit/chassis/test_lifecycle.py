"""Starting, draining, and what keeps running in between."""

import asyncio
import os
import signal
from collections.abc import Mapping

import pytest

from chassis.config import ConfigError
from chassis.lifecycle import EXIT_FAILED, EXIT_MISCONFIGURED, Fatal, Process, Service, run
from chassis.supervisor import Backoff, Supervisor
from scheduling.errors import Unavailable

FAST = Backoff(first_ms=1, max_ms=2)


class Part:
    """A service that writes down what happens to it."""

    def __init__(
        self, name: str, log: list[str], *, fails: BaseException | None = None, hangs: bool = False
    ) -> None:
        self.name = name
        self._log = log
        self._fails = fails
        self._hangs = hangs

    async def start(self) -> None:
        if self._fails is not None:
            raise self._fails
        self._log.append(f"+{self.name}")

    async def stop(self) -> None:
        self._log.append(f"-{self.name}")
        if self._hangs:
            await asyncio.Event().wait()


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    """What was started first is stopped last, and stopping twice does nothing."""
    log: list[str] = []
    process = Process("p", [Part("a", log), Part("b", log)])
    await process.start()
    await process.stop()
    await process.stop()
    assert log == ["+a", "+b", "-b", "-a"]
    assert isinstance(Part("a", log), Service)


async def test_a_failed_start_stops_what_was_started() -> None:
    """The failure is reported after the others have been stopped."""
    log: list[str] = []
    process = Process("p", [Part("a", log), Part("b", log, fails=Fatal("no port."))])
    with pytest.raises(Fatal, match="no port"):
        await process.start()
    assert log == ["+a", "-a"]


async def test_a_part_that_hangs_does_not_keep_the_others() -> None:
    """The drain is bounded; every part is asked to stop."""
    log: list[str] = []
    process = Process("p", [Part("a", log), Part("b", log, hangs=True)], drain_ms=50)
    await process.start()
    await asyncio.wait_for(process.stop(), 3)
    assert log == ["+a", "+b", "-b", "-a"]


async def test_a_slow_start_is_one_sentence() -> None:
    """A part that does not start in time is named."""

    class Slow(Part):
        async def start(self) -> None:
            await asyncio.Event().wait()

    with pytest.raises(Fatal, match="slow did not start within"):
        await Process("p", [Slow("slow", [])], start_ms=20).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_drain(number: signal.Signals) -> None:
    """SIGTERM and SIGINT stop the services and end the run."""
    log: list[str] = []
    process = Process("p", [Part("a", log)])
    running = asyncio.create_task(process.run())
    while not log:  # noqa: ASYNC110 - one turn of the loop, not a wait
        await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(running, 5)
    assert log == ["+a", "-a"]


async def test_a_fatal_failure_ends_the_process() -> None:
    """`fail` drains, then raises what happened."""
    log: list[str] = []
    process = Process("p", [Part("a", log)])
    asyncio.get_running_loop().call_soon(process.fail, Fatal("broken."))
    with pytest.raises(Fatal, match="broken"):
        await process.run()
    assert log == ["+a", "-a"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("X is not set: x."), EXIT_MISCONFIGURED, "X is not set: x.\n"),
        (Fatal("The port is taken."), EXIT_FAILED, "The port is taken.\n"),
        (
            KeyError("secret"),
            EXIT_FAILED,
            "Stopped by an unexpected KeyError; the log has the whole of it.\n",
        ),
    ],
)
def test_failures_are_one_sentence_and_an_exit_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever starts the process learns why it ended in one sentence on stderr."""

    async def wire(_: Mapping[str, str]) -> Process:
        raise error

    assert run(wire, {}) == code
    assert capsys.readouterr().err == said


def test_a_clean_end_is_exit_code_0() -> None:
    """A process that was asked to stop ends with 0."""

    async def wire(_: Mapping[str, str]) -> Process:
        process = Process("p", [])
        process.request_stop()
        return process

    assert run(wire, {}) == 0


async def test_a_failing_loop_is_started_again() -> None:
    """A loop that fails is run again until it returns."""
    runs: list[int] = []
    done = asyncio.Event()

    async def loop() -> None:
        runs.append(1)
        if len(runs) < 4:
            raise ValueError(len(runs))
        done.set()

    supervisor = Supervisor(backoff=FAST)
    supervisor.spawn("x", loop)
    await asyncio.wait_for(done.wait(), 5)
    await supervisor.stop()
    assert len(runs) == 4


async def test_a_loop_that_keeps_failing_is_fatal() -> None:
    """After the allowed failures in a row the process is told; a missing dependency never counts."""
    told: list[BaseException] = []
    runs = 0

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs <= 10:
            raise Unavailable
        raise ValueError("defect")

    supervisor = Supervisor(told.append, backoff=FAST, failures_max=12)
    supervisor.spawn("x", loop)
    async with asyncio.timeout(5):
        while not told:  # noqa: ASYNC110 - a condition with a deadline
            await asyncio.sleep(0.001)
    await supervisor.stop()
    assert runs == 12
    assert isinstance(told[0], ValueError)


async def test_stopping_cancels_every_loop() -> None:
    """Stop waits for all loops to end; none can be started after it."""
    ended: list[str] = []

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("x")

    supervisor = Supervisor()
    supervisor.spawn("a", loop)
    with pytest.raises(ValueError, match="runs already"):
        supervisor.spawn("a", loop)
    await asyncio.sleep(0)
    await supervisor.stop()
    assert ended == ["x"]
    with pytest.raises(RuntimeError):
        supervisor.spawn("b", loop)


def test_waits_grow_and_are_bounded() -> None:
    """Each wait is between half of and all of a doubling time with an upper end."""
    backoff = Backoff(first_ms=100, max_ms=1_000)
    assert [backoff.wait_s(failures, 1.0) for failures in (1, 2, 3, 4, 5, 1_000)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.0,
        1.0,
    ]
    assert backoff.wait_s(1, 0.0) == 0.05


async def test_a_loop_that_forgets_its_cancellation_is_told_again() -> None:
    """An answer that comes together with the end, which `asyncio.wait_for` may let win, keeps nobody waiting."""
    asked, answer = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def ask_for_ever() -> None:
        asked.set()
        await asyncio.wait_for(answer, 10)
        await asyncio.Event().wait()

    supervisor = Supervisor()
    supervisor.spawn("asking", ask_for_ever)
    await asked.wait()
    answer.set_result(None)
    async with asyncio.timeout(5):
        await supervisor.stop()
