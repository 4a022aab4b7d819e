"""What the user sees: one prefixed, coloured log, and the facts a newcomer needs."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from ctl.failures import CtlError

_COLOURS = {
    "postgres": "blue",
    "nats": "magenta",
    "valkey": "cyan",
    "booking": "green",
    "availability": "bright_cyan",
    "realtime": "yellow",
    "gateway": "bright_magenta",
    "medforall": "bold",
}
_LEVEL_COLOURS = {
    "debug": "dim",
    "warning": "yellow",
    "error": "red",
    "critical": "bold red",
    "fatal": "bold red",
}
_NAME_WIDTH = max(map(len, _COLOURS))
_SHOWN_FIRST = ("timestamp", "level", "message", "service", "environment")


class LogView:
    """Prints log lines of many processes as one log."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, name: str, text: str) -> None:
        """One line of a process's log; structured lines are shown in short form."""
        self._print(name, structured(text) or Text(text))

    def child_event(self, name: str, sentence: str, *, bad: bool = False) -> None:
        """Something that happened to a process, said by us."""
        self._print("medforall", Text(f"{name}: {sentence}", style="bold red" if bad else "bold"))

    def say(self, sentence: str) -> None:
        """A step of our own work."""
        self._print("medforall", Text(sentence, style="bold"))

    def _print(self, name: str, text: Text) -> None:
        prefix = Text(f"{name:<{_NAME_WIDTH}} │ ", style=_COLOURS.get(name, "white"))
        self._console.print(prefix + text, soft_wrap=True, highlight=False)


def structured(line: str) -> Text | None:
    """The short form of a JSON log line: time, level if not info, message, fields. None for other lines."""
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or "message" not in record:
        return None
    level = str(record.get("level", "info"))
    text = Text(f"{_time_of_day(record)} ", style="dim")
    text.append(f"{level} " if level != "info" else "", style=_LEVEL_COLOURS.get(level, ""))
    text.append(str(record["message"]), style=_LEVEL_COLOURS.get(level, ""))
    text.append(_fields(record), style="dim")
    return text


def _time_of_day(record: Mapping[str, Any]) -> str:
    return str(record.get("timestamp", "")).partition("T")[2].rstrip("Z")


def _fields(record: Mapping[str, Any]) -> str:
    fields = {**record, **(record["metadata"] if isinstance(record.get("metadata"), dict) else {})}
    shown = (
        f"{key}={value}"
        for key, value in fields.items()
        if key not in _SHOWN_FIRST and key != "metadata" and value not in (None, "")
    )
    return "".join(f" {pair}" for pair in shown)


def print_failure(console: Console, error: CtlError) -> None:
    """One sentence in red, and below it what to do."""
    console.print(Text(error.sentence, style="bold red"), soft_wrap=True, highlight=False)
    if error.hint:
        console.print(Text(error.hint), soft_wrap=True, highlight=False)
