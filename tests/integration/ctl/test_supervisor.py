"""The supervisor keeps children running, and leaves none behind."""

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctl.failures import ServerError
from ctl.home import read_json
from ctl.ports import free_port
from ctl.processes import ProcessIdentity, ProcessSpec
from ctl.readiness import grpc_serving
from ctl.supervisor import Child, Supervisor, end_strays
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]


class Events:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, bool]] = []

    def child_event(self, name: str, sentence: str, *, bad: bool = False) -> None:
        self.said.append((name, sentence, bad))


def fake(directory: Path, name: str = "booking", way: str = "polite", *, stop_timeout_s: float = 10) -> Child:
    port = free_port()
    spec = ProcessSpec(
        name=name,
        argv=[sys.executable, "-m", "tests.support.fake_service", str(port), way],
        cwd=ROOT,
        log_path=directory / f"{name}.log",
        is_ready=functools.partial(grpc_serving, f"127.0.0.1:{port}"),
        ready_timeout_s=30,
        stop_timeout_s=stop_timeout_s,
    )
    return Child(name, lambda: spec)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def supervisor(events: Events, tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(events, children_file=tmp_path / "children.json")
    yield made
    made.kill()


def go_on() -> bool:
    return True


def test_a_child_that_dies_is_reported_and_started_again(
    supervisor: Supervisor, events: Events, tmp_path: Path
) -> None:
    """After kill -9 the child is back, ready, with another pid, and both facts were told."""
    supervisor.start([fake(tmp_path)], go_on=go_on)
    first = supervisor.pids["booking"]
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        supervisor.watch()
        return ("booking", "ready again", False) in events.said

    wait_until(is_back, timeout_s=20)
    assert supervisor.pids["booking"] != first
    assert supervisor.children[0].restarts == 1
    assert any("died (signal SIGKILL)" in sentence and bad for _, sentence, bad in events.said)


def test_the_wait_before_a_restart_grows(supervisor: Supervisor, events: Events, tmp_path: Path) -> None:
    """A child that dies again and again is started after longer and longer waits."""
    supervisor.start([fake(tmp_path)], go_on=go_on)

    def died_three_times() -> bool:
        supervisor.watch()
        pid = supervisor.pids.get("booking")
        if pid:
            os.kill(pid, signal.SIGKILL)
        return len(waits()) >= 3

    def waits() -> list[str]:
        return [
            sentence.rpartition("in ")[2] for _, sentence, bad in events.said if bad and "died" in sentence
        ]

    wait_until(died_three_times, timeout_s=20)
    assert waits()[:3] == ["0.2 s", "0.4 s", "0.8 s"]


def test_a_child_that_cannot_start_is_a_clear_fault(supervisor: Supervisor, tmp_path: Path) -> None:
    """The fault names the child and its exit code, and the hint holds its last words."""
    with pytest.raises(ServerError, match="booking ended while starting \\(exit code 3\\)") as caught:
        supervisor.start([fake(tmp_path, way="failing")], go_on=go_on)
    assert "no such setting: MEDFORALL_NONSENSE" in caught.value.hint


def test_stages_stop_in_reverse_and_the_stubborn_are_killed(
    supervisor: Supervisor, events: Events, tmp_path: Path
) -> None:
    """The last stage ends first; a child that ignores SIGTERM is killed and reported; nothing is left."""
    first = fake(tmp_path, "booking")
    last = fake(tmp_path, "gateway", "stubborn", stop_timeout_s=0.5)
    supervisor.start([first], [last], go_on=go_on)
    pids = list(supervisor.pids.values())
    supervisor.stop()
    assert [ProcessIdentity.of(pid) for pid in pids] == [None, None]
    assert ("gateway", "did not stop in time and was killed", True) in events.said
    assert not (tmp_path / "children.json").exists()


def test_a_start_that_is_given_up_returns_at_once(supervisor: Supervisor, tmp_path: Path) -> None:
    """When nobody wants it any more, the start does not wait for the children."""
    supervisor.start([fake(tmp_path)], go_on=lambda: False)
    assert not supervisor.children[0].ready


_PARENT = """
import sys, signal
from pathlib import Path
from tests.integration.ctl.test_supervisor import Events, Supervisor, fake, go_on
directory = Path(sys.argv[1])
supervisor = Supervisor(Events(), children_file=directory / "children.json")
supervisor.start([fake(directory, "booking"), fake(directory, "realtime")], go_on=go_on)
print("started", flush=True)
signal.pause()
"""


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """After kill -9 of the parent no child is left, though nobody was there to stop them."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        records = read_json(tmp_path / "children.json")["children"]
        children = [ProcessIdentity(record["pid"], record["created_at_s"]) for record in records]
        assert len(children) == 2
        assert all(child.is_running for child in children)
        parent.kill()
        wait_until(lambda: not any(child.is_running for child in children), what="the children to end")


def test_strays_of_an_earlier_run_are_ended(tmp_path: Path) -> None:
    """A recorded child that still runs is ended; one whose pid now belongs to another process is left alone."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as stray:
        identity = ProcessIdentity.of(stray.pid)
        assert identity is not None
        other = ProcessIdentity(os.getpid(), 1.0)
        records = [
            {"name": name, "pid": who.pid, "created_at_s": who.created_at_s, "signal": int(signal.SIGTERM)}
            for name, who in (("booking", identity), ("gateway", other))
        ]
        children_file = tmp_path / "children.json"
        children_file.write_text(json.dumps({"children": records}))
        assert end_strays(children_file) == ["booking"]
        assert stray.wait(5) == -signal.SIGTERM


_ELSEWHERE = """
import subprocess, sys
from ctl.processes import launcher
program = launcher([sys.executable, "-c", "import signal; signal.pause()"], run_as=None, orphan_signal=15)
there = "import sys, runpy; sys.platform = 'other'; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
script = program.index(next(word for word in program if word.endswith("launch.py")))
child = subprocess.Popen([sys.executable, "-c", there, *program[script:]])
print(child.pid, flush=True)
child.wait()
"""


def test_children_end_with_their_parent_where_the_kernel_does_not_help(tmp_path: Path) -> None:
    """On systems other than Linux a watcher ends the child of a killed parent."""
    with subprocess.Popen(
        [sys.executable, "-c", _ELSEWHERE], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = ProcessIdentity.of(int(parent.stdout.readline()))
        assert child is not None
        parent.kill()
        parent.wait()
        wait_until(lambda: not child.is_running, what="the child to end")
