"""`medforall outbox status | redrive | republish`: the care of events on their way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from ctl.durations import parse_duration_s
from ctl.failures import CtlError, ServerError
from ctl.home import DEFAULT
from ctl.subcommands import HomeOption, group, home_of, registrar, uuid_of

if TYPE_CHECKING:
    from booking_svc.outbox.queue import OutboxEvent, OutboxQueue
    from chassis.bus import Bus

app = group("outbox", "Looks after events on their way from the database to JetStream.")
command = registrar(app)
_out = Console()

_BATCH = 200
_SHOWN = 50

ResultT = TypeVar("ResultT")
ClinicOption = Annotated[str, typer.Option("--clinic", metavar="ID", help="Only this clinic's events.")]


@command(epilog="Example: `medforall outbox status`")
def status(home: HomeOption = DEFAULT) -> None:
    """Say how many events wait, how old the oldest is, and which are parked and why."""

    async def ask(queue: OutboxQueue) -> None:
        backlog = await queue.backlog()
        _out.print(
            f"{backlog.waiting} events wait, the oldest for {backlog.oldest_age_s:.1f} s;"
            f" {backlog.parked} are parked."
        )
        parked = await queue.parked(_SHOWN)
        if parked:
            table = Table("event", "clinic", "type", "attempts", "last error")
            for event in parked:
                table.add_row(
                    event.event_id, event.clinic_id, event.event_type, str(event.attempts), event.last_error
                )
            _out.print(table)

    _with_queue(home, ask)


@command(epilog="Examples: `medforall outbox redrive` · `medforall outbox redrive --event 0198…`")
def redrive(
    event: Annotated[
        str, typer.Option(help="Only the event with this id; all parked ones when left out.")
    ] = "",
    home: HomeOption = DEFAULT,
) -> None:
    """Let parked events be published again, in their order."""
    event_id = uuid_of("--event", event)
    count = _with_queue(home, lambda queue: queue.redrive(event_id))
    if event_id and not count:
        raise CtlError(f"No parked event has the id {event_id}.")
    _out.print(f"{count} events will be tried again.")


@command(
    epilog="Examples: `medforall outbox republish --since 2h` ·"
    " `medforall outbox republish --since 2026-11-22T08:00:00Z --clinic 0198…`"
)
def republish(
    since: Annotated[
        str, typer.Option(help="From when on: a duration before now (30m, 2h, 3d) or an instant.")
    ],
    clinic: ClinicOption = "",
    home: HomeOption = DEFAULT,
) -> None:
    """Send events that were published once more, to the projections alone; what they know already they ignore."""
    clinic_id, low = uuid_of("--clinic", clinic), _since(since)
    count = _with_queue(home, lambda queue: _republish(queue, home, low, clinic_id))
    _out.print(f"{count} events sent again.")


async def _republish(queue: OutboxQueue, home: Path, since: datetime, clinic_id: str | None) -> int:
    from chassis.bus import Bus  # noqa: PLC0415 - help stays quick
    from chassis.config import load  # noqa: PLC0415
    from chassis.settings import NatsSettings  # noqa: PLC0415
    from chassis.streams import STREAMS  # noqa: PLC0415

    bus = Bus(load(NatsSettings, {"MEDFORALL_NATS_URL": _nats_url(home)}), client_name="medforall republish")
    await bus.start()
    try:
        await bus.wait_connected(5_000)
        await bus.ensure_streams(STREAMS)
        return await _send_all(queue, bus, since, clinic_id)
    finally:
        await bus.stop()


async def _send_all(queue: OutboxQueue, bus: Bus, since: datetime, clinic_id: str | None) -> int:
    run_id, sent, last = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}", 0, 0
    while events := await queue.published_since(since, after=last, limit=_BATCH, clinic_id=clinic_id):
        await _send(bus, run_id, events)
        sent, last = sent + len(events), events[-1].id
    return sent


async def _send(bus: Bus, run_id: str, events: list[OutboxEvent]) -> None:
    from booking_svc.outbox.subjects import republish_subject_of  # noqa: PLC0415 - help stays quick
    from chassis.publishing import OutgoingMessage  # noqa: PLC0415

    # An id of this run: the event's own would be taken for a repetition that nobody asked for.
    messages = [
        OutgoingMessage(
            subject=republish_subject_of(event), data=event.payload, message_id=f"{run_id}:{event.event_id}"
        )
        for event in events
    ]
    for outcome in await bus.publish_all(messages):
        if isinstance(outcome, Exception):
            raise ServerError(f"NATS did not take an event: {outcome}")


def _with_queue(home: Path, ask: Callable[[OutboxQueue], Awaitable[ResultT]]) -> ResultT:
    """What `ask` returns, on a connection that sees every clinic's events."""
    import psycopg  # noqa: PLC0415 - help stays quick

    from booking_svc.outbox.queue import OutboxQueue  # noqa: PLC0415
    from database.pipeline import Connection  # noqa: PLC0415

    async def run() -> ResultT:
        connection = Connection(await psycopg.AsyncConnection.connect(_database_url(home), autocommit=True))
        try:
            return await ask(OutboxQueue(connection))
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except psycopg.OperationalError as error:
        raise ServerError(f"PostgreSQL does not answer: {error}") from error


def _database_url(home: Path) -> str:
    """The workers' database: the environment says so, or the suite that runs in the home."""
    given = os.environ.get("MEDFORALL_WORKER_DATABASE_URL", "")
    if given:
        return given
    from ctl import secret_store  # noqa: PLC0415 - help stays quick
    from ctl.run_file import read_run_file  # noqa: PLC0415
    from database.roles import WORKER_ROLE, url_for  # noqa: PLC0415

    place = home_of(home)
    return url_for(
        read_run_file(place).database_url, WORKER_ROLE, secret_store.load_or_create(place).worker_role
    )


def _nats_url(home: Path) -> str:
    from ctl.run_file import read_run_file  # noqa: PLC0415 - help stays quick

    return os.environ.get("MEDFORALL_NATS_URL", "") or read_run_file(home_of(home)).nats_url


def _since(text: str) -> datetime:
    """An instant, or that long before now."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - timedelta(seconds=parse_duration_s(text))
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
