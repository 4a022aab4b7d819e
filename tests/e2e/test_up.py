"""`medforall up` with all its processes: ready, restarted, drained, never orphaned."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ctl import demo
from ctl.home import Home
from ctl.processes import ProcessIdentity
from ctl.run_file import RunFile, parse, read_run_file
from ctl.services import SERVICES
from tests.support.command import ROOT, command_environment, medforall, medforall_here
from tests.support.suites import Pasted, commands_printed_for, home_of, imported_example, running_suite
from tests.support.waiting import wait_until

SERVERS = ("postgres", "nats", "valkey")
KEYS = {"gateway_url", "grpc", "database_url", "redis_url", "nats_url", "pids", "tokens", "demo"}
DEMO_KEYS = {"clinic_id", "location_id", "timezone", "service_id", "provider_ids", "patient_ids"}


def family(facts: RunFile) -> list[ProcessIdentity]:
    """All processes of a suite."""
    identities = [ProcessIdentity.of(pid) for pid in facts.pids.values()]
    return [identity for identity in identities if identity]


def is_gone(members: list[ProcessIdentity]) -> bool:
    return not any(member.is_running for member in members)


def test_run_json_says_how_to_reach_everything(suite: RunFile) -> None:
    """The file has the promised keys, is for its owner alone, and every process in it runs."""
    path = home_of(suite).run_file
    said = json.loads(path.read_text())
    assert set(said) >= KEYS
    assert set(said["grpc"]) == {"booking", "availability", "realtime"}
    assert set(said["tokens"]) == {"admin", "front_desk", "provider"}
    assert set(said["demo"]) == DEMO_KEYS
    assert set(said["pids"]) == {"medforall", *SERVERS, *SERVICES}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(psutil.pid_exists(pid) for pid in said["pids"].values())


def test_status_and_doctor_find_all_well(suite: RunFile) -> None:
    """Every part is ready, and there is no fault."""
    home = str(home_of(suite).path)
    rows = json.loads(medforall("status", "--json", "--home", home).stdout)
    assert {row["name"]: row["ready"] for row in rows} == dict.fromkeys((*SERVERS, *SERVICES), True)
    doctor = medforall("doctor", "--home", home)
    assert doctor.returncode == 0, doctor.stdout


def test_a_second_up_says_that_the_home_is_in_use(suite: RunFile) -> None:
    """It names the one that runs, and leaves it alone."""
    for words in ([], ["--detach"]):
        done = medforall("up", *words, "--home", str(home_of(suite).path))
        assert done.returncode == 1
        assert f"already running (pid {suite.pids['medforall']})" in done.stderr
    assert home_of(suite).run_file.exists()


def test_the_commands_that_up_prints_work_when_pasted(suite: RunFile, newcomer: Pasted) -> None:
    """Search, book and list, as `up` printed them, answer as a newcomer hopes."""
    lines = commands_printed_for(suite)
    assert len(lines) == 4, lines
    assert suite.tokens["admin"] not in (home_of(suite).logs / "up.log").read_text()
    assert newcomer.statuses == ["200", "201", "200"], newcomer.said


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_comes_back(suite: RunFile, name: str) -> None:
    """After kill -9 it is ready again within seconds, with a new pid in run.json."""
    home = home_of(suite)
    before = read_run_file(home).pids[name]
    restarts = {row["name"]: row["restarts"] for row in _rows(home)}
    os.kill(before, signal.SIGKILL)

    def is_back() -> bool:
        if read_run_file(home).pids.get(name, before) == before:
            return False
        return all(row["ready"] for row in _rows(home))

    wait_until(is_back, timeout_s=40, what=f"{name} to be back")
    assert {row["name"]: row["restarts"] for row in _rows(home)} == restarts | {
        name: int(str(restarts[name])) + 1
    }


@pytest.mark.slow
def test_nothing_is_left_when_up_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    """After kill -9 of `up` all processes end; the next `up` has the same data at the same addresses."""
    home = tmp_path / "home"
    with running_suite(home, arguments=["--no-demo"]) as facts:
        clinic_id = imported_example(facts, "kept-clinic", tmp_path)
        known = demo.facts(facts.database_url)
        assert known is not None
        assert known.clinic_id == clinic_id
        members = family(facts)
        os.kill(facts.pids["medforall"], signal.SIGKILL)
        wait_until(lambda: is_gone(members), timeout_s=30, what="all processes to end")
        assert "No suite is running" in medforall("status", "--home", str(home)).stderr
        with running_suite(home, arguments=["--no-demo"]) as again:
            assert again.demo == known
            assert again.gateway_url == facts.gateway_url


@pytest.mark.slow
def test_ctrl_c_drains_everything(tmp_path: Path) -> None:
    """In the foreground, SIGINT ends all processes in order and `up` with code 0; the log is one, prefixed."""
    home = tmp_path / "home"
    log = tmp_path / "up.txt"
    with log.open("w") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "ctl", "up", "--no-demo", "--home", str(home)],
            cwd=ROOT,
            env=command_environment(),
            stdout=out,
            stderr=out,
        )
    with up:
        wait_until(
            lambda: (home / "run.json").exists() or up.poll() is not None,
            timeout_s=90,
            what="the suite to be ready",
        )
        assert up.poll() is None, log.read_text()
        members = family(parse(json.loads((home / "run.json").read_text())))
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
    assert is_gone(members)
    assert not (home / "run.json").exists()
    assert not (home / "run" / "children.json").exists()
    said = log.read_text()
    assert re.search(r"^booking +│ ", said, flags=re.MULTILINE), said
    assert "was killed" not in said


@pytest.mark.slow
def test_two_homes_live_side_by_side(suite: RunFile, tmp_path: Path) -> None:
    """A second home has ports and data of its own; stopping it does not touch the first."""
    with running_suite(tmp_path / "second", arguments=["--no-demo"]) as other:
        assert other.gateway_url != suite.gateway_url
        assert other.database_url != suite.database_url
    assert all(row["ready"] for row in _rows(home_of(suite)))


def _rows(home: Home) -> list[dict[str, object]]:
    said = medforall_here("status", "--json", "--home", str(home.path)).stdout
    rows: list[dict[str, object]] = json.loads(said)
    return rows
