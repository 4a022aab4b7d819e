"""Visits as an import brings them, in the test's own process, on the database and with the keys of a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.encryption import KeyProvider
from chassis.master_keys import load_master_keys
from chassis.settings import EncryptionSettings
from ctl.transfer.checking import check
from ctl.transfer.importing import Report
from ctl.transfer.reading import RawEntry
from ctl.transfer.running import write_document
from ctl.transfer.sections import APPOINTMENTS
from ctl.transfer.sessions import clinic_session, operator

Entry = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Visits:
    """A document of visits alone; each stands in the line of its place, from 1 on."""

    wanted: Sequence[Entry]

    def entries(self) -> Iterator[RawEntry]:
        """Every visit."""
        for line, tree in enumerate(self.wanted, 1):
            yield RawEntry(Path("visits.yaml"), APPOINTMENTS, line, dict(tree))


def keys_of(master_key_file: Path) -> KeyProvider:
    return load_master_keys(EncryptionSettings(master_key_file=master_key_file))


async def import_visits(
    owner_url: str, clinic_id: str, keys: KeyProvider, wanted: Sequence[Entry], *, dry_run: bool = False
) -> Report:
    """What became of visits that were read and written; nothing when some are refused."""
    document = Visits(wanted)
    plan = check(document, clinic_id, {}, progress=lambda _: None)
    assert plan.faults == [], plan.faults
    async with clinic_session(owner_url, clinic_id, keys, is_trial=dry_run) as session:
        return await write_document(
            session,
            document,
            plan,
            caller=operator("import"),
            dry_run=dry_run,
            progress=lambda _section, _done: None,
        )
