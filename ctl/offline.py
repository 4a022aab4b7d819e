"""The owner's way to the database, whether the suite runs or not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ctl import readiness, secret_store
from ctl.embedded import EmbeddedPostgres, start_server
from ctl.home import Home
from ctl.key_store import KeyStore
from ctl.ports import free_port
from ctl.run_file import read_run_file
from ctl.supervisor import end_strays


@contextmanager
def database(home: Home, environment: Mapping[str, str]) -> Iterator[str]:
    """The owner's URL of MEDFORALL_DATABASE_URL, else of the running suite, else of the home's own database.

    The last is started for as long as the block runs; the home is locked meanwhile.
    """
    home.open()
    given = environment.get("MEDFORALL_DATABASE_URL", "")
    if given:
        readiness.check_postgres(given)
        KeyStore(home).ensure()
        yield given
    elif home.holder() is not None:
        yield read_run_file(home).database_url
    else:
        with home.locked(), _own(home) as url:
            yield url


@contextmanager
def _own(home: Home) -> Iterator[str]:
    end_strays(home.children_file)
    secrets = secret_store.load_or_create(home)
    KeyStore(home).ensure()
    server = EmbeddedPostgres(
        home.path / "postgres",
        port=free_port(),
        password=secrets.postgres,
        log_path=home.logs / "postgres.log",
    )
    process = start_server(server)
    try:
        yield server.url
    finally:
        process.stop()
