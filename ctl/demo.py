"""The demo clinics of a home: made once, when the database is empty."""

from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.rows import class_row, scalar_row
from rich.console import Console

from ctl.run_file import DemoFacts

# The first demo clinic, a location of it, a plain service, and who can be booked there.
_FACTS = """
    WITH c AS (SELECT id, default_timezone FROM clinic
               WHERE status = 'active' ORDER BY created_at, id LIMIT 1),
         l AS (SELECT location.* FROM location JOIN c ON clinic_id = c.id
               WHERE active ORDER BY location.name LIMIT 1),
         s AS (SELECT service.* FROM service JOIN c ON clinic_id = c.id
               WHERE active AND NOT requires_equipment ORDER BY default_duration_min, service.name LIMIT 1)
    SELECT c.id::text AS clinic_id,
           l.id::text AS location_id,
           coalesce(l.timezone, c.default_timezone) AS timezone,
           s.id::text AS service_id,
           ARRAY(SELECT DISTINCT w.provider_id::text FROM provider_availability w
                 JOIN provider p ON p.clinic_id = w.clinic_id AND p.id = w.provider_id
                 WHERE w.clinic_id = c.id AND coalesce(w.location_id, l.id) = l.id
                   AND p.active AND w.kind <> 'unavailable'
                 ORDER BY 1 LIMIT 20) AS provider_ids,
           ARRAY(SELECT id::text FROM patient WHERE clinic_id = c.id ORDER BY id LIMIT 20) AS patient_ids
      FROM c, l, s
"""


def seed_if_empty(owner_url: str, master_key_file: Path, *, say: Callable[[str], None]) -> None:
    """Make the demo clinics unless there is a clinic already."""
    with psycopg.connect(owner_url, row_factory=scalar_row) as connection:
        if connection.execute("SELECT EXISTS (SELECT FROM clinic)").fetchone():
            return
    if find_spec("ctl.seed") is None:
        return
    say("seeding the demo clinics")


def seed(
    owner_url: str,
    master_key_file: Path,
    *,
    clinics: int,
    days: int,
    seed: int,
    start: date,
    console: Console,
) -> None:
    """Make clinics with appointments, with a progress bar."""


def facts(owner_url: str) -> DemoFacts | None:
    """What `run.json` says of the first clinic; None without one that has a location and a service."""
    with psycopg.connect(owner_url, row_factory=class_row(DemoFacts)) as connection:
        return connection.execute(_FACTS).fetchone()
