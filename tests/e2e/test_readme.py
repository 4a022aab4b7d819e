"""The commands of the README and of the integrators' page, run as they stand."""

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


def integrators_blocks() -> list[str]:
    """The shell blocks of the integrators' page, from its beginning to where it is about refusals."""
    text = (ROOT / "docs" / "integrators.md").read_text().split("\n## Refusals\n", 1)[0]
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def run_together(blocks: list[str], place: Path, environment: dict[str, str]) -> str:
    """What the blocks print, pasted in order into one shell; each command must succeed."""
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + "\n".join(blocks)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TOUR_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder that looks like the project to the tour's relative paths."""
    for name in (".venv", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a suite that the README's own `make up` started; drained by Ctrl-C afterwards."""
    folder = tmp_path_factory.mktemp("readme")
    home, log_path = folder / "home", folder / "up.log"
    environment = os.environ | {"MEDFORALL_HOME": str(home)}
    log = log_path.open("w")
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
        assert process.poll() is None, log_path.read_text()[-4000:]
        yield environment
    finally:
        ended_by_itself = process.poll()
        if ended_by_itself is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)
        log.close()
    assert ended_by_itself is None, log_path.read_text()[-4000:]
    assert not (home / "run.json").exists()


@pytest.mark.slow
def test_the_tour_runs_as_it_is_written(place: Path, running: dict[str, str]) -> None:
    """Every command of the tour, pasted in order into one shell against `make up`, does what the README says."""
    said = run_together(shell_blocks("A five-minute tour"), place, running).replace('": "', '":"')
    assert "201" in (place / "booked.txt").read_text().splitlines()[0]
    assert '"error":"SLOT_ALREADY_BOOKED"' in said
    assert '"status":"canceled"' in said
    assert "appointment.created" in (place / "seen.txt").read_text()
    assert "medforall.booking.v1.BookingService/CreateAppointment" in said


@pytest.mark.slow
def test_integrators_get_from_nothing_to_a_booked_appointment(place: Path, running: dict[str, str]) -> None:
    """The page's commands, pasted in order, search, book with 201, read the visit, and cancel it by its tag."""
    said = run_together(integrators_blocks(), place, running).replace('": "', '":"')
    assert "201" in (place / "booked.txt").read_text().splitlines()[0]
    assert said.count('"status":"scheduled"') == 2
    assert '"status":"canceled"' in said


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """The commands that the README promises first exist in the Makefile under these names."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    promised = {
        line.split()[1] for block in shell_blocks("Two commands") for line in block.splitlines() if line
    }
    assert promised <= targets
