"""`medforall projection verify | warm` and `medforall replay`: the care of what searches read."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ctl.failures import CtlError, ServerError
from ctl.home import DEFAULT
from ctl.subcommands import HomeOption, group, home_of, registrar, uuid_of

if TYPE_CHECKING:
    from availability_svc.usecases.verify_projection import ProjectionCare

app = group("projection", "Looks after what searches read: the projections in Redis.")
command = registrar(app)
_out = Console()

ClinicOption = Annotated[
    list[str] | None, typer.Option("--clinic", metavar="ID", help="Only this clinic; may be given again.")
]

_BATCH = 200
# Nobody waits behind a tool: it may read much at a time.
_ANSWER_S = 60.0


@command(epilog="Examples: `medforall projection verify` · `medforall projection verify --clinic ID`")
def verify(clinic: ClinicOption = None, home: HomeOption = DEFAULT) -> None:
    """Compare every projected value with PostgreSQL; exit code 1 when something differs, or nothing is there."""
    from availability_svc.usecases.verify_projection import Verification  # noqa: PLC0415 - help stays quick

    total = Verification()
    with _care(home) as (care, clinic_ids):
        for clinic_id in _shown("comparing", _chosen(clinic, clinic_ids)):
            total.add(care.verify(clinic_id))
    for difference in total.differences[:50]:
        _out.print(f"[red]differs[/] {difference}", soft_wrap=True)
    _out.print(
        f"{total.entries} entries in {total.buckets} calendar buckets and {total.documents} documents compared:"
        f" {len(total.differences)} differences.",
        soft_wrap=True,
    )
    if total.differences:
        raise typer.Exit(1)
    if not total.entries:
        raise CtlError(
            "Nothing is projected that could be compared.",
            hint="Search, or fill the projections with `medforall projection warm`.",
        )


@command(epilog="Examples: `medforall projection warm` · `medforall projection warm --days 60`")
def warm(
    clinic: ClinicOption = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days from today.")] = 30,
    home: HomeOption = DEFAULT,
) -> None:
    """Read every location and calendar into Redis, so that the first searches find them there."""
    start_min = int(time.time()) // 60
    values = 0
    with _care(home) as (care, clinic_ids):
        for clinic_id in _shown("reading", _chosen(clinic, clinic_ids)):
            values += care.warm(clinic_id, start_min, start_min + days * 1_440)
    _out.print(f"{values} values are in Redis.")


def replay(
    clinic: Annotated[str, typer.Option("--clinic", metavar="ID", help="The clinic whose events to send.")],
    resource: Annotated[
        str, typer.Option("--resource", metavar="ID", help="Only events that touch this resource.")
    ] = "",
    since: Annotated[
        datetime | None, typer.Option("--from", help="Only events committed from this UTC time on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", help="Only events committed before this UTC time.")
    ] = None,
    home: HomeOption = DEFAULT,
) -> None:
    """Read what is projected of a clinic, or of one resource, from PostgreSQL anew; then send its events again.

    The events reach the projections alone: what they know already they ignore, and every process forgets what it
    remembers of the calendars.
    """
    clinic_id, resource_id = uuid_of("--clinic", clinic), uuid_of("--resource", resource)
    low = (since or datetime(1970, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001 - said to be UTC
    high = (until or datetime(9999, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001
    if low >= high:
        raise CtlError("--from must be earlier than --to.")
    with _care(home) as (care, clinic_ids):
        (chosen,) = _chosen([clinic_id or ""], clinic_ids)
        rebuilt = care.rebuild(chosen, resource_id or "")
    sent = asyncio.run(_replay(_urls(home), (chosen, resource_id or "", low, high)))
    _out.print(f"{rebuilt} values rebuilt, {sent} events sent again.")


async def _replay(urls: dict[str, str], what: tuple[str, str, datetime, datetime]) -> int:
    import uuid_utils  # noqa: PLC0415 - help stays quick

    from chassis.bus import Bus  # noqa: PLC0415
    from chassis.config import load  # noqa: PLC0415
    from chassis.publishing import OutgoingMessage  # noqa: PLC0415
    from chassis.settings import NatsSettings  # noqa: PLC0415
    from chassis.streams import STREAMS  # noqa: PLC0415
    from scheduling.errors import Unavailable  # noqa: PLC0415

    run_id = str(uuid_utils.uuid7())
    bus = Bus(load(NatsSettings, {"MEDFORALL_NATS_URL": urls["nats"]}), client_name="medforall replay")
    await bus.start()
    try:
        await bus.wait_connected(5_000)
        await bus.ensure_streams(STREAMS)
        events = list(_events(urls["database"], what))
        with _progress("sending", len(events)) as advance:
            for at in range(0, len(events), _BATCH):
                batch = [
                    OutgoingMessage(
                        subject=f"medforall.republish.{what[0]}.{kind}",
                        data=payload,
                        message_id=f"{run_id}:{event_id}",
                    )
                    for event_id, kind, payload in events[at : at + _BATCH]
                ]
                for outcome in await bus.publish_all(batch):
                    if isinstance(outcome, Exception):
                        raise ServerError(f"NATS did not take an event: {outcome}")
                advance(len(batch))
    except Unavailable as error:
        raise ServerError(f"NATS does not answer: {error}") from error
    finally:
        await bus.stop()
    return len(events)


def _events(database_url: str, what: tuple[str, str, datetime, datetime]) -> Iterator[tuple[str, str, bytes]]:
    """Yield (event id, kind, bytes) of a clinic's published events, oldest first."""
    import psycopg  # noqa: PLC0415 - help stays quick
    from medforall.events.v1 import events_pb2  # noqa: PLC0415

    clinic_id, resource_id, low, high = what
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT event_id::text, aggregate_type, payload FROM outbox_event"
            " WHERE clinic_id = %s AND created_at >= %s AND created_at < %s AND published_at IS NOT NULL"
            " ORDER BY id",
            (clinic_id, low, high),
        )
        for event_id, kind, payload in rows:
            event = events_pb2.Event.FromString(payload)
            touched = {change.resource_id for change in event.resources}
            if event.WhichOneof("payload") == "directory":
                touched.add(event.directory.resource_id)
            if not resource_id or resource_id in touched:
                yield event_id, kind, bytes(payload)


@contextmanager
def _care(home: Path) -> "Iterator[tuple[ProjectionCare, list[str]]]":
    """What verifies and warms, and the ids of all clinics."""
    import psycopg  # noqa: PLC0415 - help stays quick

    from availability_svc.layers import LayerCounters  # noqa: PLC0415
    from availability_svc.store.calendar_source import CalendarSource  # noqa: PLC0415
    from availability_svc.store.location_source import LocationSource  # noqa: PLC0415
    from availability_svc.store.outline_source import OutlineSource  # noqa: PLC0415
    from availability_svc.store.pulses import Pulses  # noqa: PLC0415
    from availability_svc.store.redis_projection import RedisProjection  # noqa: PLC0415
    from availability_svc.store.truth import Truth  # noqa: PLC0415
    from availability_svc.usecases.verify_projection import ProjectionCare  # noqa: PLC0415
    from chassis.cache import SyncCache, build_breaker  # noqa: PLC0415
    from chassis.config import load  # noqa: PLC0415
    from chassis.metrics import Metrics  # noqa: PLC0415
    from chassis.settings import RedisSettings  # noqa: PLC0415
    from database.settings import DatabaseSettings  # noqa: PLC0415
    from scheduling.errors import Unavailable  # noqa: PLC0415

    urls = _urls(home)
    redis_settings = load(RedisSettings, {"MEDFORALL_REDIS_URL": urls["redis"]})
    truth = Truth(urls["database"], load(DatabaseSettings, {}), answer_s=_ANSWER_S)
    truth.open()
    cache = SyncCache(redis_settings, build_breaker(redis_settings))
    projection, counters = RedisProjection(cache), LayerCounters(Metrics())
    pulses = Pulses(projection)
    bounds: dict[str, Any] = {"bytes_max": 1_048_576}
    try:
        with psycopg.connect(urls["database"]) as connection:
            rows = connection.execute("SELECT id::text FROM clinic WHERE status <> 'archived' ORDER BY id")
            clinic_ids = [row[0] for row in rows]
        yield (
            ProjectionCare(
                truth,
                projection,
                LocationSource(truth, projection, pulses, counters, **bounds),
                OutlineSource(truth, projection, pulses, counters, **bounds),
                CalendarSource(truth, projection, pulses, counters, **bounds),
            ),
            clinic_ids,
        )
    except (psycopg.OperationalError, Unavailable) as error:
        raise ServerError(f"PostgreSQL or Redis does not answer: {error}") from error
    finally:
        cache.client.close()
        truth.close()


def _chosen(wanted: list[str] | None, clinic_ids: list[str]) -> list[str]:
    """The clinics that are meant: all when none is named. Raises CtlError for one that is not there."""
    if not wanted:
        return clinic_ids
    found = [uuid_of("--clinic", one) or "" for one in wanted]
    for clinic_id in found:
        if clinic_id not in clinic_ids:
            raise CtlError(f"There is no clinic {clinic_id}.")
    return found


def _urls(home: Path) -> dict[str, str]:
    """Where the servers are: the environment says so, or the suite that runs in the home."""
    names = {
        "database": "MEDFORALL_WORKER_DATABASE_URL",
        "redis": "MEDFORALL_REDIS_URL",
        "nats": "MEDFORALL_NATS_URL",
    }
    given = {name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)}
    if len(given) == len(names):
        return given
    from ctl.run_file import read_run_file  # noqa: PLC0415 - help stays quick

    facts = read_run_file(home_of(home))
    return {
        "database": facts.database_url,
        "redis": facts.redis_url,
        "nats": facts.nats_url,
        **given,
    }


def _shown(what: str, clinic_ids: list[str]) -> Iterator[str]:
    """Yield the clinics with a progress bar."""
    with _progress(what, len(clinic_ids)) as advance:
        for clinic_id in clinic_ids:
            yield clinic_id
            advance(1)


@contextmanager
def _progress(what: str, total: int) -> "Iterator[Any]":
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_out, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
