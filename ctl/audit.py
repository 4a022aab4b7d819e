"""`medforall audit`: hold the audit against its seals."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from ctl.failures import CtlError
from ctl.home import DEFAULT
from ctl.subcommands import HomeOption, group, home_of, registrar

if TYPE_CHECKING:
    from psycopg import Connection

    from database.audit_chain import ChainReport

app = group("audit", "Looks after the record of who did what.")
command = registrar(app)
_out = Console()


@command(
    epilog="Examples: `medforall audit verify` · `medforall audit verify --clinic 0198…` (exit code 1: a bad row)"
)
def verify(
    clinic: Annotated[str, typer.Option(help="Id of the clinic; all of them when left out.")] = "",
    home: HomeOption = DEFAULT,
) -> None:
    """Walk each clinic's hash chain and name the first row that was changed, removed or slipped in.

    Prints the last link of each chain. Kept outside of the database, those show whether rows and chain were rewritten
    together.
    """
    import psycopg  # noqa: PLC0415 - help stays quick

    from ctl import offline  # noqa: PLC0415 - as above

    with offline.database(home_of(home), os.environ) as owner_url, psycopg.connect(owner_url) as owner:
        reports = [_verified(owner, clinic_id) for clinic_id in _clinics(owner, clinic)]
    bad = sum(report.bad is not None for report in reports)
    if bad:
        raise CtlError(
            f"The audit of {bad} of {len(reports)} clinics was tampered with.",
            hint="Hold the named rows against a backup before anything else is written.",
        )
    _out.print(f"{len(reports)} clinics verified.")


def _verified(owner: Connection[Any], clinic_id: str) -> ChainReport:
    from database.audit_chain import verify_chain  # noqa: PLC0415 - as above

    report = verify_chain(owner, clinic_id)
    head = report.head.hex()
    _out.print(
        f"{clinic_id}  {report.sealed:,} rows sealed, {report.waiting:,} waiting, last link {head}",
        soft_wrap=True,
        highlight=False,
    )
    if report.bad is not None:
        place = "no link" if report.bad.seq is None else f"link {report.bad.seq}"
        row = f"audit row {report.bad.row_id} of {report.bad.at:%Y-%m-%dT%H:%M:%SZ}"
        _out.print(
            f"    {row} ({place}): {report.bad.wrong}", style="bold red", soft_wrap=True, highlight=False
        )
    return report


def _clinics(owner: Connection[Any], wanted: str) -> list[str]:
    try:
        wanted_id = UUID(wanted) if wanted else None
    except ValueError:
        raise CtlError(f"--clinic {wanted!r} is not a UUID.") from None
    from psycopg.rows import scalar_row  # noqa: PLC0415 - as above

    query = "SELECT id::text FROM clinic WHERE %(id)s::uuid IS NULL OR id = %(id)s::uuid ORDER BY id"
    found = owner.cursor(row_factory=scalar_row).execute(query, {"id": wanted_id}).fetchall()
    if wanted and not found:
        raise CtlError(f"There is no clinic {wanted}.")
    return [str(clinic_id) for clinic_id in found]
