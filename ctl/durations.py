"""Durations as people write them on a command line."""

import re

from ctl.failures import CtlError

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MAX_S = 366 * 86_400


def parse_duration_s(text: str) -> int:
    """Seconds of `900s`, `15m`, `8h` or `30d`; `CtlError` for anything else, zero, or more than a year."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= _MAX_S:
        raise CtlError(f"{text!r} is not a duration such as 900s, 15m, 8h or 30d, of at most 366 days.")
    return seconds
