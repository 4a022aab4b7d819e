"""A run that is ended from outside leaves whole diaries and no process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from chassis.master_keys import create_master_key_file
from ctl.embedded.server import write_private
from ctl.home import Home
from database.invariants import broken_invariants
from tests.support.command import ROOT, command_environment, medforall
from tests.support.databases import ROLE_PASSWORD, MigratedDatabase
from tests.support.invariants import query
from tests.support.practice import MONDAY
from tests.support.waiting import wait_until

CLINICS = 7
OPTIONS = ("seed", "--clinics", str(CLINICS), "--days", "10", "--start", MONDAY.isoformat())
FILLED = "SELECT count(DISTINCT clinic_id) FROM appointment_ref"


@contextmanager
def seeding(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, which is gone at the end."""
    command = [sys.executable, "-m", "ctl", *OPTIONS]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=ROOT, env=command_environment(environment), stdout=quiet, stderr=quiet
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_worker_outlives_the_command(
    database: MigratedDatabase, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ended while its workers fill diaries, the command ends with all of them, before the last diary is filled."""
    end_in_the_middle(database, environment_in(tmp_path, database), number, code)


def test_what_was_ended_is_finished_by_the_next_run(database: MigratedDatabase, tmp_path: Path) -> None:
    """A second command goes on from the whole diaries that an ended one has left."""
    environment = environment_in(tmp_path, database)
    end_in_the_middle(database, environment, signal.SIGTERM, 143)
    done = medforall(*OPTIONS, timeout_s=120, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert query(database.owner_url, FILLED) == [(CLINICS,)]
    with psycopg.connect(database.owner_url) as owner:
        assert not any(broken_invariants(owner).values())


def environment_in(tmp_path: Path, database: MigratedDatabase) -> dict[str, str]:
    """The command's environment, with a home of its own."""
    create_master_key_file(tmp_path / "master.key")
    environment = {
        "MEDFORALL_DATABASE_URL": database.owner_url,
        "MEDFORALL_MASTER_KEY_FILE": str(tmp_path / "master.key"),
        "MEDFORALL_HOME": str(tmp_path / "home"),
    }
    home = Home(tmp_path / "home")
    home.open()
    # The command lets the roles log in with its home's passwords: those that all tests on this server use.
    secrets = dict.fromkeys(("postgres", "nats", "valkey", "app_role", "worker_role"), ROLE_PASSWORD)
    write_private(home.keys / "secrets.json", json.dumps(secrets))
    return environment


def end_in_the_middle(
    database: MigratedDatabase, environment: dict[str, str], number: signal.Signals, code: int
) -> None:
    """End the command by a signal once the first diary is filled; nothing of it may be left."""
    with seeding(environment) as process, psycopg.connect(database.owner_url, autocommit=True) as owner:
        wait_until(
            lambda: owner.execute(FILLED).fetchone() != (0,), timeout_s=120, what="a diary that is filled"
        )
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) > 1
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        _, left = psutil.wait_procs(children, timeout=60)
        for one in left:
            one.kill()
        assert left == []
    assert query(database.owner_url, FILLED) < [(CLINICS,)]
