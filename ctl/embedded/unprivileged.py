"""Whom PostgreSQL runs as when we are root, which it refuses to be."""

import os
import pwd
import sys
from pathlib import Path

from ctl.failures import HomeError
from ctl.processes import RunAs

_ACCOUNT = "nobody"
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2


def run_as_for(*paths: Path) -> RunAs | None:
    """The account to run as so that it can reach `paths`; None when we are not root.

    When a directory above is closed to others (as /root and temporary directories are), the account keeps the
    one capability that lets it pass. The alternative, opening those directories to every user, would weaken
    the machine for good.
    """
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(_ACCOUNT)
    except KeyError:
        raise HomeError(
            f"PostgreSQL does not run as root, and there is no account {_ACCOUNT!r} to run it as.",
            hint="Run as an ordinary user, or set MEDFORALL_DATABASE_URL to a server of your own.",
        ) from None
    if all(_is_open_to_all(path) for path in paths) or sys.platform != "linux":
        return RunAs(account.pw_uid, account.pw_gid)
    return RunAs(account.pw_uid, account.pw_gid, (_passing_capability(),))


def _is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def _passing_capability() -> int:
    """The weakest capability we hold that lets a process pass closed directories (containers lack some)."""
    held = _permitted_capabilities()
    for number in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        if held >> number & 1:
            return number
    raise HomeError(
        "PostgreSQL does not run as root, and its account cannot reach the home or the installation.",
        hint="Choose a home that every user can reach (--home DIR), or run as an ordinary user.",
    )


def _permitted_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0
