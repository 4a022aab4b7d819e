"""What `medforall` says to a fault of the user or the machine: one sentence, a code, and nothing lost."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ctl.ports import free_port
from tests.support.command import ROOT, medforall, medforall_here
from tests.support.databases import MigratedDatabase


def fault(done: subprocess.CompletedProcess[str]) -> str:
    """The first line of the complaint; there must be one, a code, and no traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.splitlines()[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database has the schema; who changes it puts it right again."""
    path = tmp_path_factory.mktemp("used") / "home"
    done = medforall_here("migrate", "--home", str(path))
    assert done.returncode == 0, done.stderr
    return path


@contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """A file with another content for a while."""
    before = path.read_text()
    path.write_text(text)
    yield
    path.write_text(before)


def test_a_taken_port(tmp_path: Path) -> None:
    """The port and what it was for are named."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = medforall("up", "--home", str(tmp_path / "home"), "--port", str(port))
    assert fault(done) == f"Port {port} for gateway is taken by another program."


def test_a_port_of_nothing(tmp_path: Path) -> None:
    """A port for a process that does not exist is refused, with the names that do."""
    said = fault(medforall_here("up", "--home", str(tmp_path / "home"), "--port", "bookings=1"))
    assert "booking" in said
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MEDFORALL_DATABASE_URL", "postgresql://u:secret-word@127.0.0.1:{port}/d", "PostgreSQL"),
        ("MEDFORALL_REDIS_URL", "redis://:secret-word@127.0.0.1:{port}/0", "Redis"),
        ("MEDFORALL_NATS_URL", "nats://u:secret-word@127.0.0.1:{port}", "NATS"),
        (
            "MEDFORALL_DATABASE_URL",
            "mysql://u:secret-word@127.0.0.1/d",
            "not a URL of the form postgresql://",
        ),
        ("MEDFORALL_REDIS_URL", "127.0.0.1:6379", "not a URL of the form redis://"),
    ],
)
def test_a_wrong_url(tmp_path: Path, variable: str, value: str, says: str) -> None:
    """A server that cannot be used is named with its variable, and without its password."""
    url = value.format(port=free_port())
    done = medforall_here("up", "--home", str(tmp_path / "home"), environment={variable: url})
    said = fault(done)
    assert says in said
    assert variable in said
    assert "secret-word" not in done.stdout + done.stderr


def test_a_directory_that_is_not_a_home(tmp_path: Path) -> None:
    """A directory full of other things is neither used nor emptied."""
    (tmp_path / "letters.txt").write_text("dear")
    assert "not a medforall home" in fault(medforall_here("up", "--home", str(tmp_path)))
    assert "There is no home" in medforall_here("reset", "--yes", "--home", str(tmp_path)).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("keys/master.key", "the patients' data cannot be read without it"),
        ("keys/secrets.json", "is missing, but the data that it belongs to is there"),
        ("postgres/PG_VERSION", "not a PostgreSQL data directory"),
        ("home.json", "is not empty and is not a medforall home"),
    ],
)
def test_a_home_that_lacks_a_part(home: Path, part: str, says: str) -> None:
    """The missing part is named, nothing is made anew over it, and putting it back repairs the home."""
    kept = home.parent / "kept"
    shutil.move(home / part, kept)
    assert says in fault(medforall_here("migrate", "--home", str(home)))
    shutil.move(kept, home / part)
    assert medforall_here("migrate", "--home", str(home)).returncode == 0


@pytest.mark.parametrize("part", ["keys/secrets.json", "keys/signing.json", "home.json"])
def test_a_home_with_a_damaged_part(home: Path, part: str) -> None:
    """A file that cannot be read as what it should be is named, and left."""
    with changed(home / part, "{ half"):
        said = fault(medforall_here("migrate", "--home", str(home)))
        assert "damaged" in said
        assert str(home / part) in said
        assert (home / part).read_text() == "{ half"


def test_a_home_of_a_newer_release(home: Path) -> None:
    """A layout that this release does not know is refused."""
    with changed(home / "home.json", json.dumps({"layout": 99})):
        assert "was made by a newer medforall" in fault(medforall_here("migrate", "--home", str(home)))


def test_a_schema_of_a_newer_release(database: MigratedDatabase, tmp_path: Path) -> None:
    """A database that is ahead of this release is refused and stays as it is."""
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    said = fault(
        medforall(
            "migrate",
            "--home",
            str(tmp_path / "home"),
            environment={"MEDFORALL_DATABASE_URL": database.owner_url},
        )
    )
    assert "9999" in said
    with psycopg.connect(database.owner_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_disk_that_is_too_small(tiny_disk: Path) -> None:
    """What is left and what is needed is said before anything is made."""
    said = fault(medforall("up", "--home", str(tiny_disk / "home")))
    assert "MB left" in said
    assert not (tiny_disk / "home" / "postgres").exists()


def test_a_home_that_another_up_holds(home: Path) -> None:
    """A second command that needs the home says who has it."""
    holder = (
        "import sys, signal; from pathlib import Path; from ctl.home import Home\n"
        "with Home(Path(sys.argv[1])).locked(): print('locked', flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(home)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        said = fault(medforall_here("up", "--home", str(home)))
        other.kill()
    assert f"is already running (pid {other.pid})" in said
    # The lock ends with its holder, even when that was killed.
    assert medforall_here("migrate", "--home", str(home)).returncode == 0


def test_nothing_runs(home: Path) -> None:
    """Without a running suite `status` and `env` say so; `down` has nothing to do and that is no fault."""
    assert fault(medforall("status", "--home", str(home))).startswith("No suite is running in")
    assert fault(medforall("env", "--home", str(home))).startswith("No suite is running in")
    assert medforall("down", "--home", str(home)).returncode == 0
