"""The audit: who may write it, how it is sealed, and what a tampered row gives away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from structlog.testing import capture_logs

from booking_svc.audit_sealer import AuditSealer
from database.audit_chain import ChainReport, verify_chain
from database.settings import DatabaseSettings
from database.transaction import Database
from tests.integration.directory.conftest import Directory, Suite
from tests.support.booking_suite import booking_suite
from tests.support.clinic_rows import insert
from tests.support.command import medforall
from tests.support.databases import MigratedDatabase
from tests.support.invariants import query
from tests.support.practice import Practice, new_id
from tests.support.servers import Servers
from tests.support.waiting import wait_until, wait_until_async


@pytest.fixture(scope="module")
def suite(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A booking process that seals without delay."""
    settings = {"MEDFORALL_AUDIT_SEAL_MS": "20"}
    with booking_suite(servers, tmp_path_factory.mktemp("audit"), settings=settings) as made:
        yield made


@pytest.fixture
async def sealed(suite: Suite, directory: Directory, practice: Practice) -> Practice:
    """A clinic with ten sealed audit rows."""
    for number in range(10):
        await directory.add("Service", name=f"Service {number}", default_duration_min=30)
    await_sealed(suite, practice, 10)
    return practice


def await_sealed(suite: Suite, practice: Practice, rows: int) -> None:
    """Return when the clinic's chain has so many links."""
    url, count = suite.database.owner_url, "SELECT count(*) FROM audit_seal WHERE clinic_id = %s"
    wait_until(lambda: query(url, count, practice.clinic) == [(rows,)], what="the sealer")


@pytest.fixture
def superuser(suite: Suite) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Somebody who can take every trigger away."""
    with psycopg.connect(suite.database.owner_url) as owner:
        owner.execute("SET session_replication_role = replica")
        yield owner


def report_of(suite: Suite, practice: Practice) -> ChainReport:
    with psycopg.connect(suite.database.owner_url) as owner:
        return verify_chain(owner, practice.clinic)


def row_at(suite: Suite, practice: Practice, seq: int) -> str:
    """The audit row that a link covers."""
    found = query(
        suite.database.owner_url,
        "SELECT audit_event_id::text FROM audit_seal WHERE clinic_id = %s AND seq = %s",
        practice.clinic,
        seq,
    )
    return str(found[0][0])


async def test_every_row_is_sealed_once_and_the_chain_goes_on(
    suite: Suite, directory: Directory, sealed: Practice
) -> None:
    """The process seals by itself, row after row, and the calls show which rows are sealed."""
    first = report_of(suite, sealed)
    assert (first.sealed, first.waiting, first.bad) == (10, 0, None)
    await directory.add("Service", name="Later", default_duration_min=30)
    await_sealed(suite, sealed, 11)
    second = report_of(suite, sealed)
    assert (second.sealed, second.waiting, second.bad) == (11, 0, None)
    assert second.head != first.head
    listed = await directory.call("ListAuditEvents")
    assert sum(event.sealed for event in listed.audit_events) == 11


ODD_ROW = """
INSERT INTO audit_event (clinic_id, id, actor, actor_role, action, entity_type, entity_id, reason, from_address,
    request_id, before, after)
VALUES (%s, gen_random_uuid(), %s, 'admin', 'patient.read', 'patient', %s, %s, %s, %s, %s, %s)
"""
ODD_WORDS = [
    ("Ünïcødé ☃ 漢字", None, None, None, "", None, None),
    (
        "-",
        "00000000-0000-0000-0000-00000000000a",
        "5:a",
        "::ffff:10.0.0.1",
        "-",
        '{"name": "☃\\u0101", "n": 1.50}',
        "null",
    ),
    ("'; --", None, "a\nb", "2001:db8::1", "0:", "[]", '{"z": null, "a": [1, "–"]}'),
    ("x" * 5_000, None, "", "127.0.0.1", "🂡" * 300, '""', '{"long": "%s"}' % ("ä" * 9_000)),
]


async def test_the_database_chains_words_as_the_verifier_does(
    suite: Suite, practice: Practice, superuser: psycopg.Connection[tuple[object, ...]]
) -> None:
    """Texts of every kind, absent ones and such as look like lengths give the hashes that are computed here again."""
    for words in ODD_WORDS * 70:  # more than a page
        superuser.execute(ODD_ROW, (practice.clinic, *words))
    superuser.commit()
    await_sealed(suite, practice, 280)
    report = report_of(suite, practice)
    assert (report.sealed, report.waiting, report.bad) == (280, 0, None)


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE audit_event SET actor = 'somebody else' WHERE id = %s", "changed"),
        ('UPDATE audit_event SET after = \'{"name": "x"}\' WHERE id = %s', "changed"),
        ("UPDATE audit_event SET at = at + interval '1 second' WHERE id = %s", "gone"),
        ("DELETE FROM audit_event WHERE id = %s", "gone"),
        ("UPDATE audit_seal SET chain_hash = sha256('x') WHERE audit_event_id = %s", "changed"),
        ("DELETE FROM audit_seal WHERE audit_event_id = %s", "missing"),
    ],
)
async def test_a_change_by_a_superuser_is_found(
    suite: Suite,
    sealed: Practice,
    superuser: psycopg.Connection[tuple[object, ...]],
    statement: str,
    wrong: str,
) -> None:
    """A row or link that was changed or removed with the triggers off is named, the first one of them."""
    touched = row_at(suite, sealed, 4)
    named = row_at(suite, sealed, 5) if wrong == "missing" else touched
    superuser.execute(statement.encode(), (touched,))
    superuser.commit()
    bad = report_of(suite, sealed).bad
    assert bad is not None
    assert bad.row_id == named
    assert wrong in bad.wrong


OLD_ROW = """
INSERT INTO audit_event (clinic_id, id, at, actor, actor_role, action, entity_type)
VALUES (%s, gen_random_uuid(), now() - %s * interval '1 minute', 'x', 'admin', 'patient.read', 'patient')
"""
MOVE_SEAL = (
    "UPDATE audit_seal SET audit_event_at = '2019-01-15' WHERE clinic_id = %s AND seq BETWEEN %s AND %s"
)
DELETE_ROWS = """
DELETE FROM audit_event USING audit_seal s WHERE s.clinic_id = %s AND s.seq BETWEEN %s AND %s
  AND audit_event.clinic_id = s.clinic_id AND audit_event.id = s.audit_event_id
"""


@pytest.mark.parametrize(
    ("links", "is_detached", "bad"), [((4, 4), True, 4), ((1, 3), False, 1), ((1, 3), True, None)]
)
async def test_a_link_that_is_given_an_old_date_hides_no_row(
    *,
    suite: Suite,
    sealed: Practice,
    superuser: psycopg.Connection[tuple[object, ...]],
    links: tuple[int, int],
    is_detached: bool,
    bad: int | None,
) -> None:
    """A row is gone with its month only when that month was detached, and no row that is left comes before it."""
    superuser.execute(DELETE_ROWS, (sealed.clinic, *links))
    superuser.execute(MOVE_SEAL, (sealed.clinic, *links))
    superuser.execute("DELETE FROM detached_month")
    if is_detached:
        superuser.execute("INSERT INTO detached_month (parent, month) VALUES ('audit_event', '2019-01-01')")
    superuser.commit()
    found = report_of(suite, sealed).bad
    assert (found and found.seq) == bad


async def test_rows_that_are_committed_late_are_sealed_in_their_place(database: MigratedDatabase) -> None:
    """While a transaction that wrote 20 minutes ago is open, nothing newer is sealed, which is told; then both are."""
    clinic, sealed = new_id(), []
    workers = Database(database.worker_url, DatabaseSettings(), application_name="test")
    await workers.open()
    sealer = AuditSealer(workers, every_s=1, wait_told_s=0)

    async def is_sealed() -> bool:
        sealed.append(await sealer.seal())
        return sum(sealed) == 2

    with psycopg.connect(database.owner_url) as late, psycopg.connect(database.owner_url) as prompt:
        insert(prompt, "clinic", id=clinic, name="Quay", default_timezone="UTC")
        prompt.commit()
        late.execute(OLD_ROW, (clinic, 20))
        prompt.execute(OLD_ROW, (clinic, 0))
        prompt.commit()
        with capture_logs() as logs:
            for _ in range(3):
                assert await sealer.seal() == 0
        assert {log["event"] for log in logs} == {"audit.sealing_waits"}
        late.commit()
    await wait_until_async(is_sealed, timeout_s=60, what="both rows to be sealed")
    await workers.close()
    with psycopg.connect(database.owner_url) as owner:
        report = verify_chain(owner, clinic)
    assert (report.sealed, report.waiting, report.bad) == (2, 0, None)


async def test_a_row_of_a_clock_that_was_set_back_is_sealed_at_the_next_look_back(
    database: MigratedDatabase,
) -> None:
    """Ordinarily only what is new is looked at; a row that claims an earlier minute waits for the next look back."""
    clinic, now_s = new_id(), [0.0]
    workers = Database(database.worker_url, DatabaseSettings(), application_name="test")
    await workers.open()
    sealer = AuditSealer(workers, every_s=1, look_back_s=60, clock_s=lambda: now_s[0])

    async def sealed_of(*minutes_ago: int) -> int:
        with psycopg.connect(database.owner_url) as owner:
            for minutes in minutes_ago:
                owner.execute(OLD_ROW, (clinic, minutes))
        passes: list[int] = []

        async def is_something() -> bool:
            passes.append(await sealer.seal())
            return passes[-1] > 0

        await wait_until_async(is_something, timeout_s=60, what="a row to be sealed")
        return passes[-1]

    with psycopg.connect(database.owner_url) as owner:
        insert(owner, "clinic", id=clinic, name="Quay", default_timezone="UTC")
    assert await sealed_of(0) == 1
    assert await sealed_of(0, 5) == 1
    now_s[0] = 60.0
    assert await sealed_of() == 1
    await workers.close()
    with psycopg.connect(database.owner_url) as owner:
        report = verify_chain(owner, clinic)
    assert (report.sealed, report.waiting, report.bad) == (3, 0, None)


SEALED_AHEAD = """
WITH ahead AS (
    INSERT INTO audit_event (clinic_id, id, at, actor, actor_role, action, entity_type)
    VALUES (%s, gen_random_uuid(), now() + interval '20 minutes', 'x', 'admin', 'patient.read', 'patient')
    RETURNING clinic_id, id, at
)
INSERT INTO audit_seal (clinic_id, seq, audit_event_id, audit_event_at, chain_hash)
SELECT clinic_id, 1, id, at, sha256('x') FROM ahead
"""


async def test_rows_are_sealed_after_a_clock_was_set_back_by_more_than_rows_may_be_late(
    database: MigratedDatabase,
) -> None:
    """What was sealed 20 minutes ahead of the clock keeps nothing that is written now from being sealed."""
    clinic, workers = new_id(), Database(database.worker_url, DatabaseSettings(), application_name="test")
    await workers.open()
    sealer = AuditSealer(workers, every_s=1)

    async def is_sealed() -> bool:
        return await sealer.seal() == 1

    with psycopg.connect(database.owner_url) as owner:
        insert(owner, "clinic", id=clinic, name="Quay", default_timezone="UTC")
        owner.execute(SEALED_AHEAD, (clinic,))
        owner.execute(OLD_ROW, (clinic, 1))
    await wait_until_async(is_sealed, timeout_s=60, what="the row to be sealed")
    await workers.close()


async def test_a_row_slipped_in_is_found(
    suite: Suite,
    directory: Directory,
    sealed: Practice,
    superuser: psycopg.Connection[tuple[object, ...]],
) -> None:
    """A row with a time of the past is not sealed later, and is named."""
    superuser.execute(OLD_ROW, (sealed.clinic, 60))
    superuser.commit()
    await directory.add("Service", name="Later", default_duration_min=30)
    await_sealed(suite, sealed, 11)
    bad = report_of(suite, sealed).bad
    assert bad is not None
    assert "slipped in" in bad.wrong


@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET clinic_id = clinic_id", "DELETE FROM {}", "TRUNCATE {}"],
)
@pytest.mark.parametrize("table", ["audit_event", "audit_event_default", "audit_seal"])
async def test_no_role_of_the_services_changes_the_audit(
    suite: Suite, sealed: Practice, table: str, statement: str
) -> None:
    """The application and the workers may add rows and nothing else."""
    for url in (suite.database.app_url, suite.database.worker_url):
        with psycopg.connect(url) as connection:
            connection.execute("SELECT set_config('app.clinic_id', %s, true)", (sealed.clinic,))
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement.format(table).encode())


async def test_the_command_names_the_first_bad_row(
    suite: Suite,
    sealed: Practice,
    superuser: psycopg.Connection[tuple[object, ...]],
    tmp_path: Path,
) -> None:
    """`medforall audit verify` says that all is well, and after a change names the row and fails."""
    environment = {"MEDFORALL_DATABASE_URL": suite.database.owner_url}
    arguments = ("audit", "verify", "--clinic", sealed.clinic, "--home", str(tmp_path / "home"))
    done = medforall(*arguments, environment=environment)
    assert (done.returncode, "1 clinics verified." in done.stdout) == (0, True), done.stderr
    touched = row_at(suite, sealed, 7)
    superuser.execute("UPDATE audit_event SET actor = 'me' WHERE id = %s", (touched,))
    superuser.commit()
    done = medforall(*arguments, environment=environment)
    assert done.returncode == 1
    assert f"audit row {touched}" in done.stdout
    assert "tampered" in done.stderr
