"""A whole suite for tests, started and stopped by the command itself."""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ctl.home import Home
from ctl.run_file import RunFile, read_run_file
from tests.support.command import ROOT, medforall, medforall_here

_START_TIMEOUT_S = 120.0
_homes: dict[str, Home] = {}
_printed: dict[str, str] = {}


@contextmanager
def running_suite(
    home: Path, *, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> Iterator[RunFile]:
    """`medforall up --detach` with `arguments` in `home`, `environment` for all processes; drained at the end."""
    done = medforall(
        "up",
        "--detach",
        "--home",
        str(home),
        *arguments,
        environment=environment,
        timeout_s=_START_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"the suite did not start:\n{done.stdout}\n{done.stderr}")
    facts = read_run_file(Home(home))
    _homes[facts.gateway_url] = Home(home)
    _printed[facts.gateway_url] = done.stdout
    try:
        yield facts
    finally:
        medforall("down", "--home", str(home))


def commands_printed_for(facts: RunFile) -> list[str]:
    """The shell lines that `medforall up` printed when `running_suite` started that suite."""
    return re.findall(r"^(?:TOKEN=|curl ).*$", _printed[facts.gateway_url], flags=re.MULTILINE)


class Pasted(NamedTuple):
    """What commands said that were pasted into a shell, and the status of each request among them."""

    statuses: list[str]
    said: str


def paste_what_was_printed_for(facts: RunFile) -> Pasted:
    """Run the lines that `medforall up` printed, as a newcomer does."""
    lines = "\n".join(commands_printed_for(facts)).replace("curl -s", "curl -s -w '\\n%{http_code}\\n'")
    done = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, timeout=60, check=False)
    statuses = re.findall(r"^\d{3}$", done.stdout, flags=re.MULTILINE)
    return Pasted(statuses, f"{done.stdout}\n{done.stderr}")


def home_of(facts: RunFile) -> Home:
    """The home of a suite that `running_suite` started in this process."""
    return _homes[facts.gateway_url]


def imported_example(facts: RunFile, word: str, folder: Path) -> str:
    """The id of a clinic of one's own: the example file under the id `word`, written to `folder` and imported."""
    file = folder / f"{word}.yaml"
    text = (ROOT / "examples" / "clinic.yaml").read_text()
    file.write_text(text.replace("id: harbour-clinic", f"id: {word}"))
    done = medforall_here("import", str(file), "--home", str(home_of(facts).path))
    if done.returncode:
        raise RuntimeError(f"the example was not imported:\n{done.stdout}\n{done.stderr}")
    return done.stdout.partition("Clinic ")[2].partition(":")[0]


def admin_token(facts: RunFile, clinic_id: str) -> str:
    """A token of an administrator of that clinic."""
    done = medforall_here(
        "token", "--clinic", clinic_id, "--role", "admin", "--home", str(home_of(facts).path)
    )
    if done.returncode:
        raise RuntimeError(f"no token was made:\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()
