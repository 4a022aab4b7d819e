"""A whole suite for tests, started and stopped by the command itself."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ctl.home import Home
from ctl.run_file import RunFile, read_run_file
from tests.support.command import medforall

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


def home_of(facts: RunFile) -> Home:
    """The home of a suite that `running_suite` started in this process."""
    return _homes[facts.gateway_url]
