"""An import and an export from beginning to end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from booking_svc.model import Caller
from booking_svc.usecases.directory_recording import DirectoryRecorder
from ctl.failures import CtlError, disk_faults_told
from ctl.home import Home
from ctl.master_keys import master_keys_of
from ctl.transfer.checking import Plan, Source
from ctl.transfer.exporting import Exporter
from ctl.transfer.importing import Importer, Progress, Report
from ctl.transfer.reading import Document
from ctl.transfer.sessions import ImportSession, clinic_session, new_id, operator
from scheduling.errors import NotFound


async def import_clinic(
    home: Home, owner_url: str, source: Source, plan: Plan, *, dry_run: bool, progress: Progress
) -> Report:
    """Write a plan in one transaction, and commit it unless this is a dry run. Raises CtlError."""
    keys = master_keys_of(home, os.environ)
    async with clinic_session(owner_url, plan.clinic_id, keys, is_trial=dry_run) as session:
        return await write_document(
            session, source, plan, caller=operator("import"), dry_run=dry_run, progress=progress
        )


async def write_document(
    session: ImportSession,
    document: Document,
    plan: Plan,
    *,
    caller: Caller,
    progress: Progress,
    dry_run: bool = False,
) -> Report:
    """Write a checked document in a transaction that was begun; commit unless it is a dry run or visits are refused.

    Raises CtlError for what the database refuses.
    """
    importer = Importer(session, plan, caller)
    await importer.write(document, progress)
    if not dry_run and not importer.report.refused:
        session.commit()
        await session.run()
    return importer.report


async def export_clinic(
    home: Home,
    owner_url: str,
    clinic_id: str,
    output: Path | None,
    *,
    with_patients: bool,
    with_visits: bool,
) -> int:
    """Write a clinic's file, whole or not at all, and the audit row that says so; how many entries."""
    keys = master_keys_of(home, os.environ)
    async with clinic_session(owner_url, clinic_id, keys, of_one_moment=True) as session:
        exporter = Exporter(session, DirectoryRecorder(new_id, lambda: datetime.now(UTC)))
        with _opened(output) as file:
            try:
                written = await exporter.write(
                    file,
                    with_patients=with_patients,
                    with_visits=with_visits and with_patients,
                    progress=lambda _: None,
                )
            except NotFound:
                raise CtlError(f"There is no clinic {clinic_id}.") from None
            session.commit()
            await session.run()
    return written


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """The file to write, private, in place once it is complete; else stdout."""
    if output is None:
        yield sys.stdout
        return
    if not output.parent.is_dir():
        raise CtlError(f"There is no directory {output.parent}.", hint="Make it, or say another --output.")
    partial = output.with_name(f"{output.name}.partial")
    with disk_faults_told(output):
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                yield file
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
