"""The home directory: made, recognised, locked, erased."""

import json
import stat
from pathlib import Path

import pytest

from ctl.failures import AlreadyRunningError, CtlError, HomeError
from ctl.home import Home
from ctl.secret_store import load_or_create


def test_a_new_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    """No directory or file of a home can be entered or read by others."""
    home = Home(tmp_path / "home")
    home.open()
    load_or_create(home)
    for path in [home.path, *home.path.rglob("*")]:
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    """A home that is there keeps its secrets."""
    home = Home(tmp_path / "home")
    home.open()
    first = load_or_create(home)
    home.open()
    assert load_or_create(home) == first


def test_secrets_do_not_show(tmp_path: Path) -> None:
    """The representation of the secrets holds none of them."""
    home = Home(tmp_path / "home")
    home.open()
    secrets = load_or_create(home)
    assert secrets.postgres not in repr(secrets)


def test_a_home_is_locked_by_one(tmp_path: Path) -> None:
    """A second holder is refused; after the first is done, the home is free."""
    home = Home(tmp_path / "home")
    home.open()
    with home.locked():
        assert home.holder() is not None
        with pytest.raises(AlreadyRunningError), home.locked():
            pass
    with home.locked():
        pass


def test_a_holder_with_an_old_pid_is_nobody(tmp_path: Path) -> None:
    """A lock file whose process is gone, or whose pid belongs to another process now, names nobody."""
    home = Home(tmp_path / "home")
    home.open()
    (home.run / "lock").write_text(json.dumps({"pid": 1, "created_at_s": 12.0}))
    assert home.holder() is None
    (home.run / "lock").write_text("rubbish")
    assert home.holder() is None


def test_erasing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """A foreign file in the home survives; without one, the directory goes too."""
    home = Home(tmp_path / "home")
    home.open()
    (home.path / "notes.txt").write_text("mine")
    home.erase()
    assert [path.name for path in home.path.iterdir()] == ["notes.txt"]
    other = Home(tmp_path / "other")
    other.open()
    other.erase()
    assert not other.path.exists()


def test_erasing_a_foreign_directory_is_refused(tmp_path: Path) -> None:
    """What is no home is never emptied."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(HomeError):
        Home(tmp_path).erase()
    assert (tmp_path / "thesis.txt").exists()


def test_a_file_where_the_home_should_be(tmp_path: Path) -> None:
    """A path that is a file is a clear fault."""
    path = tmp_path / "home"
    path.write_text("")
    with pytest.raises(CtlError, match="not a directory"):
        Home(path / "inside").open()
