"""The README's commands, run as they stand."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
START_S = 120
TOUR_S = 120


def shell_blocks(heading: str) -> list[str]:
    """The bash blocks below a second-level heading of the README, in order."""
    text = (ROOT / "README.md").read_text()
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder that looks like the project to the tour's relative paths."""
    for name in (".venv", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def running(place: Path) -> Iterator[dict[str, str]]:
    """The environment of a suite that the README's own `make up` started; drained by Ctrl-C afterwards."""
    home = place / "home"
    environment = os.environ | {"MEDFORALL_HOME": str(home)}
    log = (place / "up.log").open("w")
    process = subprocess.Popen(
        ["make", "up"],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_until(
            lambda: (home / "run.json").exists() or process.poll() is not None,
            timeout_s=START_S,
            what="make up to be ready",
        )
        assert process.poll() is None, (place / "up.log").read_text()[-4000:]
        yield environment
    finally:
        ended_by_itself = process.poll()
        if ended_by_itself is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)
        log.close()
    assert ended_by_itself is None, (place / "up.log").read_text()[-4000:]
    assert not (home / "run.json").exists()


@pytest.mark.slow
def test_the_tour_runs_as_it_is_written(place: Path, running: dict[str, str]) -> None:
    """Every command of the tour, pasted in order into one shell against `make up`, does what the README says."""
    script = "set -euo pipefail\n" + "\n".join(shell_blocks("A five-minute tour"))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env=running,
        capture_output=True,
        text=True,
        timeout=TOUR_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "201" in (place / "booked.txt").read_text().splitlines()[0]
    assert '"error":"SLOT_ALREADY_BOOKED"' in done.stdout.replace('": "', '":"')
    assert '"status":"canceled"' in done.stdout.replace('": "', '":"')
    assert "appointment.created" in (place / "seen.txt").read_text()
    assert "medforall.booking.v1.BookingService/CreateAppointment" in done.stdout


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """The commands that the README promises first exist in the Makefile under these names."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    promised = {
        line.split()[1] for block in shell_blocks("Two commands") for line in block.splitlines() if line
    }
    assert promised <= targets
