"""Demo clinics' directories and patients, each imported as a document of its own in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from chassis.encryption import KeyProvider
from ctl.failures import CtlError
from ctl.seed.documents import DemoClinic
from ctl.transfer.checking import Plan, check
from ctl.transfer.running import write_document
from ctl.transfer.sessions import begun, operator, owner_connection

CALLER: Final = "seed"


async def import_clinics(
    owner_url: str,
    master_keys: KeyProvider,
    clinics: Iterable[DemoClinic],
    *,
    progress: Callable[[int], None],
) -> int:
    """Import clinics that are not there yet, one after the other; how many.

    Raises CtlError for what the import refuses, psycopg's errors for the database; either leaves the clinics before
    that one, whole.
    """
    done = 0
    async with owner_connection(owner_url) as connection:
        for clinic in clinics:
            plan = _checked(clinic)
            session = await begun(connection, clinic.id, master_keys)
            await write_document(session, clinic, plan, caller=operator(CALLER), progress=_silent)
            done += 1
            progress(done)
    return done


def _checked(clinic: DemoClinic) -> Plan:
    plan = check(clinic, clinic.id, {}, progress=_uncounted)
    if plan.faults:
        raise CtlError(
            f"The document of the demo clinics has {len(plan.faults)} faults, first: {plan.faults[0]}."
        )
    return plan


def _uncounted(_count: int) -> None:
    """Say nothing: clinics are counted, not their entries."""


def _silent(_section: str, _count: int) -> None:
    """Say nothing, as above."""
