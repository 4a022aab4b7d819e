"""`medforall maintenance` and `medforall keys`: the upkeep of the database."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from ctl.failures import CtlError, ServerError
from ctl.home import DEFAULT
from ctl.subcommands import HomeOption, group, home_of, registrar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from database.retention import MaintenanceReport

app = group("maintenance", "Keeps the database in order.")
keys_app = group("keys", "Looks after the keys that data is encrypted with.")
command = registrar(app)
keys_command = registrar(keys_app)
_out = Console()


@command(epilog="Example, once a day: `medforall maintenance run`")
def run(home: HomeOption = DEFAULT) -> None:
    """Make the months ahead and those of imported history, delete what was kept long enough, detach old months.

    Harmless to repeat. Of history the oldest 24 months are made in a run, the next ones in the next.

    Kept: claims 7 days after their end, idempotency keys 3 days, published events 14 days, quotas 35 days, audit 6
    years, appointments 10 years. Detached months stay as tables of their own until somebody archives and drops them.
    """
    import psycopg  # noqa: PLC0415 - help stays quick

    from ctl import offline  # noqa: PLC0415 - as above
    from database.retention import maintain  # noqa: PLC0415 - as above

    with (
        _database_faults_told(),
        offline.database(home_of(home), os.environ) as owner_url,
        psycopg.connect(owner_url) as owner,
    ):
        report = maintain(owner)
    for sentence in sentences(report):
        _out.print(sentence, soft_wrap=True, highlight=False)


def sentences(report: MaintenanceReport) -> list[str]:
    """What a run did, a line each."""
    from database.retention import RETENTION, RETENTION_MONTHS  # noqa: PLC0415 - help stays quick

    partitions = report.partitions
    created = f": {', '.join(partitions.created)}" if partitions.created else ""
    said = [f"{len(partitions.created)} partitions made{created}."]
    if partitions.rows_moved:
        said.append(f"{partitions.rows_moved:,} rows moved into them from the default partitions.")
    said += [
        f"{report.deleted[kept.table]:,} {kept.what} deleted (kept {kept.days} days)." for kept in RETENTION
    ]
    for months in RETENTION_MONTHS:
        names = [name for name in partitions.detached if name.startswith(f"{months.table}_")]
        listed = f": {', '.join(names)}" if names else ""
        said.append(f"{len(names)} months of {months.what} detached (kept {months.months} months){listed}.")
    return said


@keys_command(
    epilog="Example: put the new master key on the first line of the file, then `medforall keys rotate`"
)
def rotate(home: HomeOption = DEFAULT) -> None:
    """Wrap every clinic's data key by the newest master key; data itself is not touched.

    The newest master key is the first of MEDFORALL_MASTER_KEY_FILE or MEDFORALL_MASTER_KEY, or of the home's file.
    Afterwards the older ones may be taken away.
    """
    import psycopg  # noqa: PLC0415 - help stays quick

    from chassis.encryption import DecryptionError  # noqa: PLC0415 - as above
    from ctl import offline  # noqa: PLC0415 - as above
    from ctl.master_keys import master_keys_of  # noqa: PLC0415 - as above
    from database.clinic_keys import rewrap_keys  # noqa: PLC0415 - as above

    place = home_of(home)
    with _database_faults_told(), offline.database(place, os.environ) as owner_url:
        keys = master_keys_of(place, os.environ)
        with psycopg.connect(owner_url) as owner:
            try:
                changed = rewrap_keys(owner, keys)
            except DecryptionError as error:
                raise CtlError(
                    f"Nothing was changed: {error}.",
                    hint="Keep the old master key below the new one until the rotation is done.",
                ) from error
    _out.print(f"{changed} data keys wrapped by master key {keys.newest().key_id}.", highlight=False)


@contextmanager
def _database_faults_told() -> Iterator[None]:
    import psycopg  # noqa: PLC0415 - as above

    try:
        yield
    except psycopg.Error as error:
        sentence = str(error).strip().splitlines()[0]
        raise ServerError(
            f"The database refused: {sentence}.", hint="What was finished stays; run the same command again."
        ) from error
