"""The demo clinics of a database: made once, and the facts that first steps need."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.rows import class_row, scalar_row
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chassis.config import ConfigError
from chassis.master_keys import load_master_keys
from chassis.settings import EncryptionSettings
from ctl.failures import CtlError, ServerError
from ctl.run_file import DemoFacts
from ctl.seed.load import DEMO_CLINICS, SeedOptions, SeedReport, seed_clinics
from ctl.seed.load import Progress as SeedProgress
from ctl.seed.words import clinic_id
from scheduling.errors import Unavailable

_UNPUBLISHED = "SELECT EXISTS (SELECT FROM outbox_event WHERE published_at IS NULL AND parked_at IS NULL)"
_UNFINISHED = """
    SELECT NOT EXISTS (SELECT FROM clinic) OR EXISTS (
        SELECT FROM clinic c WHERE id = ANY (%s::uuid[]) AND status <> 'archived'
        AND NOT EXISTS (SELECT FROM appointment_ref r WHERE r.clinic_id = c.id))
"""
_PUBLISH_PATIENCE_S = 30.0
_PUBLISH_POLL_S = 0.1

# The first demo clinic (any other active one, if that is gone), a location of it where somebody works, a plain
# service, and who can be booked there.
_FACTS = """
    WITH c AS (SELECT id, default_timezone FROM clinic
               WHERE status = 'active' ORDER BY id <> %(first)s, created_at, id LIMIT 1),
         works AS (SELECT DISTINCT w.provider_id, l.id AS location_id
                   FROM provider_availability w JOIN c ON w.clinic_id = c.id
                   JOIN provider p ON p.clinic_id = c.id AND p.id = w.provider_id AND p.active
                   JOIN location l ON l.clinic_id = c.id AND l.active AND coalesce(w.location_id, l.id) = l.id
                   WHERE w.active AND w.kind <> 'unavailable'),
         l AS (SELECT location.* FROM location JOIN c ON clinic_id = c.id
               WHERE location.id IN (SELECT location_id FROM works) ORDER BY location.name LIMIT 1),
         s AS (SELECT service.* FROM service JOIN c ON clinic_id = c.id
               WHERE active AND NOT requires_equipment ORDER BY default_duration_min, service.name LIMIT 1)
    SELECT c.id::text AS clinic_id,
           l.id::text AS location_id,
           coalesce(l.timezone, c.default_timezone) AS timezone,
           s.id::text AS service_id,
           ARRAY(SELECT provider_id::text FROM works WHERE location_id = l.id ORDER BY 1 LIMIT 20) AS provider_ids,
           ARRAY(SELECT id::text FROM patient
                 WHERE clinic_id = c.id AND active AND NOT placeholder ORDER BY 1 LIMIT 20) AS patient_ids
      FROM c, l, s
"""


def seed_if_empty(owner_url: str, master_key_file: Path, *, say: Callable[[str], None]) -> bool:
    """Make the demo clinics unless there is a clinic already; True when they were made.

    Those that an interrupted start left without a diary are finished.
    """
    demo_ids = [clinic_id(number) for number in range(1, DEMO_CLINICS + 1)]
    with psycopg.connect(owner_url, row_factory=scalar_row) as connection:
        if not connection.execute(_UNFINISHED, (demo_ids,)).fetchone():
            return False
    say("making the demo clinics")
    report = _seed(owner_url, master_key_file, SeedOptions(first_day=datetime.now(UTC).date()), None)
    say(f"made {report.clinics_made} clinics with {report.visits} appointments in {report.seconds:.1f} s")
    return True


def await_published(
    owner_url: str, *, go_on: Callable[[], bool], monotonic: Callable[[], float] = time.monotonic
) -> None:
    """Return when the running suite has told everybody of all that was made, so that news is not queued behind it.

    Gives up after half a minute: nothing depends on it but the speed of the first events.
    """
    deadline = monotonic() + _PUBLISH_PATIENCE_S
    with psycopg.connect(owner_url, row_factory=scalar_row, autocommit=True) as connection:
        while go_on() and monotonic() < deadline:
            if not connection.execute(_UNPUBLISHED).fetchone():
                return
            time.sleep(_PUBLISH_POLL_S)


def seed(owner_url: str, master_key_file: Path, options: SeedOptions, *, console: Console) -> None:
    """Make the clinics and diaries that are missing, with progress bars, and say what was made."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks = {what: progress.add_task(what, total=options.clinics) for what in ("clinics", "diaries")}
        report = _seed(
            owner_url,
            master_key_file,
            options,
            lambda what, done, _: progress.update(tasks[what], completed=done),
        )
    console.print(
        f"{report.clinics_made} clinics imported in {report.import_seconds:.1f} s "
        f"({report.seconds_per_clinic:.2f} s each), {report.clinics_found} were there; "
        f"{report.visits:,} appointments in {report.visit_seconds:.1f} s ({report.visits_per_second:,.0f} a second).",
        highlight=False,
        soft_wrap=True,
    )


def facts(owner_url: str) -> DemoFacts | None:
    """What `run.json` says of the first clinic; None without one that has a location and a service."""
    with psycopg.connect(owner_url, row_factory=class_row(DemoFacts)) as connection:
        return connection.execute(_FACTS, {"first": clinic_id(1)}).fetchone()


def _seed(
    owner_url: str, master_key_file: Path, options: SeedOptions, progress: SeedProgress | None
) -> SeedReport:
    try:
        keys = load_master_keys(EncryptionSettings(master_key_file=master_key_file, master_key=""))
        return seed_clinics(owner_url, keys, options, progress=progress)
    except ConfigError as error:
        raise CtlError(str(error)) from error
    except Unavailable as error:
        raise ServerError(str(error)) from error
    except psycopg.Error as error:
        raise ServerError(
            f"The clinics cannot be made: {str(error).strip().splitlines()[0]}.",
            hint="What was finished stays; run the same command again to go on.",
        ) from error
