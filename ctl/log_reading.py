"""`medforall logs`."""

import time
from collections.abc import Sequence

from ctl.console import LogView
from ctl.failures import CtlError
from ctl.home import Home
from ctl.log_files import LogFollower, last_lines

_LOOK_S = 0.15


def show_logs(home: Home, view: LogView, *, service: str | None, follow: bool, lines: int) -> None:
    """Show the end of one or all logs, and what is added when `follow`; ends with Ctrl-C."""
    home.check()
    names = _names(home, service)
    followers = {name: LogFollower(home.logs / f"{name}.log") for name in names}
    for name in names:
        for line in last_lines(home.logs / f"{name}.log", lines):
            view.line(name, line)
    try:
        while follow:
            for name, follower in followers.items():
                for line in follower.new_lines():
                    view.line(name, line)
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        return


def _names(home: Home, service: str | None) -> Sequence[str]:
    known = sorted(path.stem for path in home.logs.glob("*.log"))
    if service is None:
        return known
    if service not in known:
        raise CtlError(f"There is no log of {service!r}; there are: {', '.join(known) or 'none yet'}.")
    return [service]
