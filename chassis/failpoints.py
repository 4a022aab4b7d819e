"""Named places where crash tests stop, slow or fail a process; inert outside of the environment `test`.

`MEDFORALL_FAILPOINTS=relay.acked=kill,booking.committed=2*sleep:2000`. An action is `kill` (the process
dies at once, as by kill -9), `raise` (a RuntimeError) or `sleep:<ms>`. With a count it acts that time only
that the place is reached: `1*kill` the first time, `3*kill` the third; without one, every time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from chassis.config import ConfigError
from chassis.settings import CommonSettings, Environment

_SLEEP_MS_MAX = 60_000


@dataclass(frozen=True, slots=True)
class Action:
    """What happens at a fail point; `at` is the one passing at which it does, None means each."""

    kind: str
    sleep_ms: int = 0
    at: int | None = None


class FailPoints:
    """The armed fail points of a process; `hit` is what code calls at the places."""

    def __init__(self, actions: Mapping[str, Action] | None = None) -> None:
        self._actions = dict(actions or {})
        self._passed: dict[str, int] = {}
        self._lock = threading.Lock()

    def is_armed(self, name: str) -> bool:
        """Whether anything may happen at `name`: for places that only a test makes."""
        return name in self._actions

    def hit(self, name: str) -> None:
        """Do what is armed at `name`, blocking; nothing in production."""
        action = self._due(name)
        if action is None:
            return
        if action.kind == "sleep":
            time.sleep(action.sleep_ms / 1_000)
        else:
            _act(name, action)

    async def hit_async(self, name: str) -> None:
        """The same for a coroutine, which sleeps without blocking others."""
        action = self._due(name)
        if action is None:
            return
        if action.kind == "sleep":
            await asyncio.sleep(action.sleep_ms / 1_000)
        else:
            _act(name, action)

    def _due(self, name: str) -> Action | None:
        action = self._actions.get(name)
        if action is None:
            return None
        with self._lock:
            passed = self._passed[name] = self._passed.get(name, 0) + 1
        return action if action.at in (None, passed) else None


def _act(name: str, action: Action) -> None:
    if action.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError(f"fail point {name}")


def build_failpoints(settings: CommonSettings) -> FailPoints:
    """The fail points of a process.

    Raises ConfigError outside of the environment `test`, or for a malformed list.
    """
    if not settings.failpoints:
        return FailPoints()
    if settings.environment is not Environment.TEST:
        raise ConfigError("MEDFORALL_FAILPOINTS may be set only when MEDFORALL_ENVIRONMENT is test.")
    pairs = (entry.partition("=") for entry in settings.failpoints.split(",") if entry.strip())
    return FailPoints({name.strip(): parse_action(action.strip()) for name, _, action in pairs})


def parse_action(text: str) -> Action:
    """Read one action. Raises ConfigError."""
    count, star, rest = text.rpartition("*")
    kind, _, argument = rest.partition(":")
    is_counted = count.isdigit() and int(count) > 0
    is_known = (kind in ("kill", "raise") and not argument) or (kind == "sleep" and argument.isdigit())
    if not is_known or (star and not is_counted):
        raise ConfigError(
            f"MEDFORALL_FAILPOINTS has the action {text!r}: use kill, raise or sleep:<ms>, or count*action."
        )
    return Action(kind, sleep_ms=min(int(argument or 0), _SLEEP_MS_MAX), at=int(count) if star else None)
