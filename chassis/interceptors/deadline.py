"""Every unary call has a deadline, and none is long."""

from __future__ import annotations

import time
from collections.abc import Callable

from chassis.interceptors.chain import Call, IdleChecks
from scheduling.errors import Expired


class Deadline(IdleChecks):
    """Gives a unary call without a deadline the default one, and cuts one that is too far away.

    A stream keeps what its caller asked for, if anything.
    """

    def __init__(
        self, *, default_s: float, max_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._default_s = default_s
        self._max_s = max_s
        self._now_s = now_s

    def enter(self, call: Call) -> None:
        """Set the call's deadline. Raises Expired when it has passed while the call waited for its turn."""
        remaining_s = call.remaining_s
        if remaining_s is not None and remaining_s <= 0:
            raise Expired("The deadline passed before the call was served.")
        if call.method.is_stream:
            call.deadline = None if remaining_s is None else self._now_s() + remaining_s
            return
        allowed_s = self._default_s if remaining_s is None else min(remaining_s, self._max_s)
        call.deadline = self._now_s() + allowed_s

    def leave(self, call: Call) -> None:
        """Do nothing."""
