"""`medforall import` and `medforall export`: clinics as files."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ctl.failures import CtlError, ServerError
from ctl.home import DEFAULT
from ctl.subcommands import HomeOption, home_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ctl.home import Home
    from ctl.transfer.checking import Plan, Source
    from ctl.transfer.faults import Fault
    from ctl.transfer.importing import Report

IMPORT_EXAMPLES = (
    "Examples: `medforall import examples/clinic.yaml` · `medforall import clinic.yaml --dry-run` · "
    "`medforall import patients.csv --clinic 0198…`"
)
EXPORT_EXAMPLES = (
    "Examples: `medforall export --clinic 0198… --output clinic.yaml` · "
    "`medforall export --clinic 0198… --no-patients`"
)
_out, _err = Console(), Console(stderr=True)


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(help="YAML files, and CSV files of patients, providers, rooms or appointments."),
    ],
    *,
    clinic: Annotated[str, typer.Option(help="Id of the clinic; needed when no file says it.")] = "",
    table: Annotated[
        str,
        typer.Option(
            "--as",
            help="What CSV files hold, when their names do not say: patients, providers, rooms, appointments.",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and change nothing.")] = False,
    home: HomeOption = DEFAULT,
) -> None:
    """Set up a clinic from files, or bring it to what they say: all of it or nothing.

    Every fault is printed with its file and line before anything is written. Entries are told apart by their ids,
    UUIDs or words of your own; the same file imported again changes nothing. What the files do not name stays as it
    is, entries and fields alike; a null, or an empty cell, clears a field.

    Appointments that are to take place are judged as bookings are, in the order of the files, by the clinic's hours,
    rules and what is booked; completed, canceled and no_show ones are kept as they are told. One that is there already
    is never changed.
    """
    from ctl import offline  # noqa: PLC0415 - help stays quick
    from ctl.transfer.checking import Source, clinic_of  # noqa: PLC0415 - as above

    source = Source(tuple(files), table)
    clinic_id = clinic_of(source, clinic)
    place = home_of(home)
    started_s = time.monotonic()
    with _database_faults_told(), offline.database(place, os.environ) as owner_url:
        plan = _checked(owner_url, source, clinic_id)
        report = _write(place, owner_url, source, plan, dry_run=dry_run)
    _require_none(report.refused)
    _tell(report, clinic_id, time.monotonic() - started_s, dry_run=dry_run)


def export(
    clinic: Annotated[str, typer.Option(help="Id of the clinic.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (mode 600).", show_default="stdout")
    ] = None,
    *,
    patients: Annotated[
        bool, typer.Option("--patients/--no-patients", help="With the patients' data, in the clear.")
    ] = True,
    appointments: Annotated[
        bool,
        typer.Option(
            "--appointments/--no-appointments",
            help="With the appointments and their notes, in the clear; never without the patients, whom they name.",
        ),
    ] = True,
    home: HomeOption = DEFAULT,
) -> None:
    """Write a clinic as the file that `medforall import` reads; audited. Holds are left out.

    Appointments that are to take place are written with a reason to be booked in spite of soft rules, so that an empty
    database takes them again. It refuses those that began more than seven days ago and are not finished, and those
    whose location, provider, room, service or patient is out of use: settle them first.
    """
    import asyncio  # noqa: PLC0415 - help stays quick

    from ctl import offline  # noqa: PLC0415 - as above
    from ctl.transfer.running import export_clinic  # noqa: PLC0415 - as above
    from ctl.transfer.sections import is_uuid  # noqa: PLC0415 - as above

    if not is_uuid(clinic):
        raise CtlError(f"--clinic {clinic!r} is not a UUID.")
    place = home_of(home)
    with _database_faults_told(), offline.database(place, os.environ) as owner_url:
        exporting = export_clinic(
            place, owner_url, clinic.lower(), output, with_patients=patients, with_visits=appointments
        )
        written = asyncio.run(exporting)
    if appointments and not patients:
        _err.print("Without the patients the appointments are left out too: they name them.", highlight=False)
    if output is not None:
        _out.print(f"{written:,} entries written to {output}.", soft_wrap=True, highlight=False)


def _checked(owner_url: str, source: Source, clinic_id: str) -> Plan:
    import psycopg  # noqa: PLC0415 - as above

    from ctl.transfer.checking import check, known_ids  # noqa: PLC0415 - as above
    from ctl.transfer.names import known_names  # noqa: PLC0415 - as above

    with psycopg.connect(owner_url) as owner:
        known, names = known_ids(owner, clinic_id), known_names(owner, clinic_id)
    with _bars({"checking": None}) as progress:
        plan = check(source, clinic_id, known, progress=partial(progress, "checking"), names=names)
    _require_none(plan.faults)
    return plan


def _require_none(faults: Sequence[Fault]) -> None:
    from ctl.transfer.faults import FaultyFileError  # noqa: PLC0415 - as above

    for fault in faults:
        _out.print(str(fault), soft_wrap=True, highlight=False, markup=False)
    if faults:
        raise FaultyFileError(f"{len(faults):,} faults; nothing was changed.")


def _write(home: Home, owner_url: str, source: Source, plan: Plan, *, dry_run: bool) -> Report:
    import asyncio  # noqa: PLC0415 - as above

    from ctl.transfer.running import import_clinic  # noqa: PLC0415 - as above

    with _bars({"patients": plan.patients, "appointments": plan.visits}) as progress:
        return asyncio.run(import_clinic(home, owner_url, source, plan, dry_run=dry_run, progress=progress))


def _tell(report: Report, clinic_id: str, seconds: float, *, dry_run: bool) -> None:
    entries = report.created + report.changed + report.unchanged
    _out.print(
        f"Clinic {clinic_id}: {report.created:,} created, {report.changed:,} changed, "
        f"{report.unchanged:,} unchanged in {seconds:.1f} s ({entries / max(seconds, 0.001):,.0f} entries/s).",
        soft_wrap=True,
        highlight=False,
    )
    for visit in report.displaced:
        _out.print(
            f"    appointment {visit.appointment_id} no longer fits: {visit.reason.value}",
            soft_wrap=True,
            highlight=False,
        )
    if dry_run:
        _out.print("This was a dry run: nothing was changed.")


@contextmanager
def _bars(totals: Mapping[str, int | None]) -> Iterator[Callable[[str, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True) as progress:
        tasks = {what: progress.add_task(what, total=total) for what, total in totals.items() if total != 0}
        yield lambda what, done: progress.update(tasks[what], completed=done)


@contextmanager
def _database_faults_told() -> Iterator[None]:
    import psycopg  # noqa: PLC0415 - as above

    try:
        yield
    except psycopg.Error as error:
        sentence = str(error).strip().splitlines()[0]
        raise ServerError(f"The database refused: {sentence}.", hint="Nothing was changed.") from error
