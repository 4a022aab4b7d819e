"""A whole process: it starts, serves, drains on SIGTERM, and dies where a fail point says so."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
from chassis.config import load
from chassis.failpoints import build_failpoints
from chassis.lifecycle import Process, main
from chassis.metrics import MetricsServer, build_metrics
from chassis.settings import CommonSettings

class Ready:
    name = "ready"
    def __init__(self, points):
        self.points = points
    async def start(self):
        self.points.hit("ready.start")
        print("ready", flush=True)
    async def stop(self):
        print("drained", flush=True)

async def wire(environ):
    settings = load(CommonSettings, environ)
    return Process("p", [MetricsServer(build_metrics(), settings.metrics_listen), Ready(build_failpoints(settings))])

main(wire)
"""


def start(**environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_drains_and_exits_0(number: signal.Signals) -> None:
    """After SIGTERM or SIGINT the services are stopped and the exit code is 0."""
    with start() as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(line == "ready\n" for line in lines)
        process.send_signal(number)
        out, _ = process.communicate(timeout=15)
    assert "drained\n" in out
    assert process.returncode == 0


def test_a_wrong_setting_is_one_sentence_and_exit_code_2() -> None:
    """Nothing but the sentence is on stderr."""
    with start(MEDFORALL_METRICS_LISTEN="nowhere") as process:
        _, err = process.communicate(timeout=15)
    assert err == "MEDFORALL_METRICS_LISTEN is malformed: 'nowhere' is not host:port.\n"
    assert process.returncode == 2


def test_a_failpoint_kills_the_process_on_the_spot() -> None:
    """`kill` is a real SIGKILL: nothing is drained."""
    with start(MEDFORALL_ENVIRONMENT="test", MEDFORALL_FAILPOINTS="ready.start=1*kill") as process:
        out, _ = process.communicate(timeout=15)
    assert process.returncode == -signal.SIGKILL
    assert "drained" not in out
