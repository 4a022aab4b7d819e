"""How `up` takes signals."""

import signal

import pytest

from ctl.up import StopRequests


class Clock:
    """A clock that stands until it is moved."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_asks_for_a_drain(number: int) -> None:
    """Ctrl-C, `kill` and a closed terminal all stop the suite in good order."""
    stop = StopRequests(Clock())
    assert not stop.requested
    stop.note(number, None)
    assert stop.requested
    assert not stop.hasty


def test_the_same_signal_passed_on_twice_is_no_haste() -> None:
    """A signal that arrives again at once, or a second SIGTERM, does not cut the drain short."""
    clock = Clock()
    stop = StopRequests(clock)
    stop.note(signal.SIGINT, None)
    stop.note(signal.SIGINT, None)
    clock.now_s = 5.0
    stop.note(signal.SIGTERM, None)
    assert not stop.hasty


def test_a_second_ctrl_c_breaks_the_drain_off() -> None:
    """Ctrl-C during the drain interrupts it, also when it came just before."""
    clock = Clock()
    stop = StopRequests(clock)
    stop.note(signal.SIGINT, None)
    clock.now_s = 2.0
    with pytest.raises(KeyboardInterrupt), stop.interruptible():
        stop.note(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt), stop.interruptible():
        pytest.fail("not reached")
