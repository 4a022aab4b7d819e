"""Logs: followed, cut, and shown in short."""

from pathlib import Path

from ctl.console import structured
from ctl.log_files import LogFollower, keep_small, last_lines


def test_a_follower_gives_whole_lines_once(tmp_path: Path) -> None:
    """Half a line waits for its end; no line is given twice."""
    path = tmp_path / "a.log"
    path.write_text("before\n")
    follower = LogFollower(path)
    with path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert list(follower.new_lines()) == ["one"]
        file.write("o\n")
        file.flush()
        assert list(follower.new_lines()) == ["two"]
    assert list(follower.new_lines()) == []


def test_a_follower_goes_on_after_the_file_was_cut(tmp_path: Path) -> None:
    """A log that was moved aside is followed from its new beginning."""
    path = tmp_path / "a.log"
    path.write_text("x" * 100 + "\n")
    follower = LogFollower(path)
    path.write_text("new\n")
    assert list(follower.new_lines()) == ["new"]


def test_a_follower_waits_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A log that does not exist yet has no lines, and has them when it appears."""
    follower = LogFollower(tmp_path / "later.log")
    assert list(follower.new_lines()) == []
    (tmp_path / "later.log").write_text("here\n")
    assert list(follower.new_lines()) == ["here"]


def test_a_log_does_not_grow_without_end(tmp_path: Path) -> None:
    """A big log is moved aside under the writer, who goes on writing to the same file."""
    path = tmp_path / "a.log"
    with path.open("a") as writer:
        writer.write("old line\n" * 1_000)
        writer.flush()
        assert keep_small(path, size_bytes_max=4_096)
        writer.write("after\n")
    assert path.read_text() == "after\n"
    assert (tmp_path / "a.log.1").stat().st_size == 4_096
    assert not keep_small(path, size_bytes_max=4_096)


def test_the_last_lines_are_given(tmp_path: Path) -> None:
    """As many as asked for, fewer when there are fewer."""
    path = tmp_path / "a.log"
    path.write_text("".join(f"{number}\n" for number in range(100)))
    assert last_lines(path, 3) == ["97", "98", "99"]
    assert last_lines(tmp_path / "none.log", 3) == []


def test_structured_lines_are_shown_in_short() -> None:
    """Time of day, a level that matters, the message and the fields; other lines stay as they are."""
    line = (
        '{"timestamp": "2026-02-15T10:30:00.123Z", "level": "warning", "service": "booking", "environment": "x",'
        ' "message": "relay.slow", "clinic_id": "c1", "metadata": {"lag_ms": 12}}'
    )
    shown = structured(line)
    assert shown is not None
    assert shown.plain == "10:30:00.123 warning relay.slow clinic_id=c1 lag_ms=12"
    assert structured("LOG:  checkpoint complete") is None
    assert structured('{"half') is None
