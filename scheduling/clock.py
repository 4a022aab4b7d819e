"""Where the time comes from: always a parameter, never a call of the domain."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Returns the current instant as an aware UTC datetime."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def system_clock() -> datetime:
    """Return the machine's time in UTC."""
    return datetime.now(UTC)


def shifted_clock(offset_ms: int, clock: Clock = system_clock) -> Clock:
    """Return a clock that runs `offset_ms` ahead of `clock` (behind it, when negative)."""
    offset = timedelta(milliseconds=offset_ms)
    return lambda: clock() + offset


def minutes_of(instant: datetime) -> int:
    """Return the whole minutes from the epoch to `instant`, an aware datetime, rounded down."""
    return (instant - EPOCH) // MINUTE


def exact_minutes_of(instant: datetime) -> float:
    """Return the minutes from the epoch to `instant` with their fraction, for `now` and expiries."""
    return (instant - EPOCH) / MINUTE


def instant_of(epoch_min: int) -> datetime:
    """Return the aware UTC datetime `epoch_min` minutes after the epoch."""
    return EPOCH + timedelta(minutes=epoch_min)
