"""What a process remembers, for how long, and that callers share one load."""

import threading
from collections.abc import Mapping

import pytest

from availability_svc.store.flights import Flights
from availability_svc.store.memory import KnownVersions, Remembered
from scheduling.errors import Unavailable
from tests.support.waiting import wait_until


class _Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_values_are_forgotten_in_time_but_kept_for_need() -> None:
    """After its time a value is no longer given out, except to those who take an outdated one."""
    clock = _Clock()
    kept: Remembered[str] = Remembered(bytes_max=100, ttl_s=10, now_s=clock)
    kept.put("a", "value", 10)
    assert kept.get("a") == "value"
    clock.now_s += 10
    assert kept.get("a") is None
    assert kept.get_outdated("a") == "value"


def test_the_bound_holds() -> None:
    """The oldest go when there is no more room, and the count of bytes stays right."""
    kept: Remembered[int] = Remembered(bytes_max=100, now_s=_Clock())
    for number in range(30):
        kept.put(number, number, 10)
        assert kept.size_bytes <= 100
    assert [number for number in range(30) if kept.get(number) is not None] == list(range(20, 30))
    kept.drop(25)
    kept.drop_where(lambda key: key == 26)
    assert kept.size_bytes == 80


def test_a_group_is_outdated_together() -> None:
    """A change of a calendar outdates those of its buckets that lack it and no others; they stay for need."""
    kept: Remembered[int] = Remembered(bytes_max=1_000, now_s=_Clock())
    for calendar in "ab":
        for bucket in range(3):
            kept.put((calendar, bucket), bucket, 1, group=calendar)
    kept.outdate_group("a", lambda bucket: bucket < 2)
    assert [kept.get(("a", bucket)) for bucket in range(3)] == [None, None, 2]
    assert kept.get_outdated(("a", 1)) == 1
    assert kept.get(("b", 1)) == 1
    assert kept.size_bytes == 6


def test_a_group_is_renewed_together_but_not_what_has_changed() -> None:
    """Values that were found right again live on; one that a change has outdated meanwhile does not."""
    clock = _Clock()
    kept: Remembered[int] = Remembered(bytes_max=1_000, ttl_s=10, now_s=clock)
    for bucket in range(3):
        kept.put(("a", bucket), bucket, 1, group="a")
    clock.now_s += 10
    kept.renew_group("a", lambda bucket: bucket > 0)
    assert [kept.get(("a", bucket)) for bucket in range(3)] == [None, 1, 2]
    kept.outdate_group("a", lambda _: True)
    kept.renew_group("a", lambda _: True)
    assert kept.get(("a", 1)) is None


def test_versions_heard_of_never_go_back() -> None:
    """An older version heard later changes nothing; after a minute all is forgotten."""
    clock = _Clock()
    known = KnownVersions(clock)
    known.heard("c", "r", 5)
    known.heard("c", "r", 4)
    assert known.of("c", "r") == 5
    assert known.of("c", "other") == 0
    clock.now_s += 61
    assert known.of("c", "r") == 0
    known.heard("c", "other", 1)
    assert not known._known.keys() - {("c", "other")}


def test_one_load_serves_all_who_wait() -> None:
    """Ten callers of one key, one call of the loader, ten answers."""
    flights: Flights[str, int] = Flights()
    loads: list[list[str]] = []
    begun, go_on = threading.Event(), threading.Event()

    def load(keys: list[str]) -> Mapping[str, int]:
        loads.append(keys)
        begun.set()
        assert go_on.wait(10)
        return dict.fromkeys(keys, 7)

    answers: list[dict[str, int]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(flights.fetch(["a", "b"], load))) for _ in range(10)
    ]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(flights._loading["a"]._condition._waiters) == 9, what="the others to wait")  # type: ignore[attr-defined]
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert answers == [{"a": 7, "b": 7}] * 10
    assert loads == [["a", "b"]]


def test_a_failed_load_fails_those_who_wait_and_nobody_after() -> None:
    """The failure is passed on, and the next caller loads anew."""
    flights: Flights[str, int] = Flights()

    def fail(keys: list[str]) -> Mapping[str, int]:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        flights.fetch(["a"], fail)
    assert flights.fetch(["a"], lambda keys: dict.fromkeys(keys, 1)) == {"a": 1}


def test_a_marked_value_is_right_while_its_mark_is_the_state_of_the_moment() -> None:
    """Whoever knows the state gets what bears it, however old, and nothing else; a change ends that too."""
    clock = _Clock()
    kept: Remembered[int] = Remembered(bytes_max=1_000, ttl_s=10, now_s=clock)
    kept.put("a", 1, 1, group="g", mark=b"one")
    kept.put("b", 2, 1, group="g")
    assert [kept.get(key, b"one") for key in "ab"] == [1, None]
    clock.now_s += 100
    assert kept.get("a", b"one") == 1
    assert kept.get("a", b"two") is None
    assert kept.get("a") is None
    kept.renew_group("g", lambda value: value == 1, b"two")
    assert [kept.get(key, b"two") for key in "ab"] == [1, None]
    kept.outdate_group("g", lambda _: True)
    assert kept.get("a", b"two") is None


def test_what_bears_the_mark_and_is_used_stays_longest() -> None:
    """A value that is old but right and asked for is not the first to go when there is no more room."""
    clock = _Clock()
    kept: Remembered[int] = Remembered(bytes_max=20, ttl_s=10, now_s=clock)
    kept.put("a", 1, 10, mark=b"one")
    kept.put("b", 2, 10, mark=b"one")
    clock.now_s += 10
    assert kept.get("a", b"one") == 1
    kept.put("c", 3, 10, mark=b"one")
    assert [kept.get(key, b"one") for key in "abc"] == [1, None, 3]


def test_a_mark_counts_for_a_while_after_the_reading_however_often_it_is_renewed() -> None:
    """The state that a mark tells of may come back: past its age a value is not right by it, and is not renewed."""
    clock = _Clock()
    kept: Remembered[int] = Remembered(bytes_max=1_000, ttl_s=10, marked_s=100, now_s=clock)
    kept.put("a", 1, 1, group="g", mark=b"one")
    clock.now_s += 90
    kept.renew_group("g", lambda _: True, b"two")
    assert (kept.get("a", b"two"), kept.get_renewable("a")) == (1, 1)
    kept.put("made of a", 2, 1, mark=b"two", marked_until_s=kept.marked_until_s(["a"]))
    clock.now_s += 10
    kept.renew_group("g", lambda _: True, b"two")
    assert [kept.get(key, b"two") for key in ("a", "made of a")] == [None, None]
    assert kept.get_renewable("a") is None
    assert kept.get_outdated("a") == 1
