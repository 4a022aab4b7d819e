"""`medforall projection` against real servers."""

import psycopg
import redis

from availability_svc.calendars import RECORD_BYTES
from availability_svc.store import keys
from tests.integration.availability.conftest import World
from tests.support.command import medforall, medforall_here

_UNKNOWN = "018f0000-0000-7000-8000-00000000dead"


def _environment(world: World) -> dict[str, str]:
    return {
        "MEDFORALL_WORKER_DATABASE_URL": world.database.worker_url,
        "MEDFORALL_REDIS_URL": world.environment["MEDFORALL_REDIS_URL"],
        "MEDFORALL_NATS_URL": world.environment["MEDFORALL_NATS_URL"],
    }


def test_warm_fills_verify_agrees_and_finds_what_is_wrong(world: World) -> None:
    """After `warm`, `verify` compares entries and ends with 0; a bucket that lost an entry makes it end with 1."""
    environment = _environment(world)
    assert medforall("projection", "warm", "--days", "5", environment=environment).returncode == 0
    good = medforall("projection", "verify", environment=environment)
    assert good.returncode == 0, good.stdout + good.stderr
    assert " 0 differences" in good.stdout
    assert not good.stdout.startswith("0 entries")
    with redis.Redis.from_url(environment["MEDFORALL_REDIS_URL"]) as client:
        name = max(client.scan_iter(match=keys.bucket_pattern(world.clinic.id)), key=client.strlen)
        client.set(name, client.get(name)[:-RECORD_BYTES])
    bad = medforall("projection", "verify", environment=environment)
    assert bad.returncode == 1
    assert "1 differences" in bad.stdout


def test_verify_does_not_succeed_when_it_compared_nothing(world: World) -> None:
    """With nothing projected, an unknown clinic, or an id that is none, it ends with 1 and one sentence."""
    environment = _environment(world)
    for arguments, sentence in (
        ((), "Nothing is projected that could be compared."),
        (("--clinic", world.clinic.id), "Nothing is projected that could be compared."),
        (("--clinic", _UNKNOWN), f"There is no clinic {_UNKNOWN}."),
        (("--clinic", "x"), "--clinic 'x' is not a UUID."),
    ):
        done = medforall_here("projection", "verify", *arguments, environment=environment)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def test_replay_makes_what_is_projected_equal_to_the_database_again(world: World) -> None:
    """A bucket has lost an entry: after a replay, of its calendar alone or of the clinic, nothing differs any more."""
    environment = _environment(world)
    assert medforall_here("projection", "warm", "--days", "5", environment=environment).returncode == 0
    with redis.Redis.from_url(environment["MEDFORALL_REDIS_URL"]) as client:
        name = max(client.scan_iter(match=keys.bucket_pattern(world.clinic.id)), key=client.strlen)
        calendar_id, _ = keys.bucket_of(name.decode())
        for arguments in ((), ("--resource", calendar_id)):
            client.set(name, client.get(name)[:-RECORD_BYTES])
            assert medforall_here("projection", "verify", environment=environment).returncode == 1
            done = medforall("replay", "--clinic", world.clinic.id, *arguments, environment=environment)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "bus.disconnected" not in done.stdout + done.stderr
            good = medforall_here("projection", "verify", environment=environment)
            assert good.returncode == 0, good.stdout + good.stderr


def test_replay_refuses_what_it_cannot_mean(world: World) -> None:
    """A clinic that is not there, ids that are none, and a stretch that ends before it begins end with 1."""
    clinic = ("--clinic", world.clinic.id)
    for arguments, sentence in (
        (("--clinic", "x"), "--clinic 'x' is not a UUID."),
        (("--clinic", _UNKNOWN), f"There is no clinic {_UNKNOWN}."),
        ((*clinic, "--resource", "x"), "--resource 'x' is not a UUID."),
        ((*clinic, "--from", "2026-02-02", "--to", "2026-02-01"), "--from must be earlier than --to."),
    ):
        done = medforall_here("replay", *arguments, environment=_environment(world))
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def test_replay_sends_a_clinics_events_again(world: World) -> None:
    """It says how many, and a resource narrows them."""
    environment = _environment(world)
    with psycopg.connect(world.database.owner_url) as owner:
        owner.execute("UPDATE outbox_event SET published_at = now() WHERE published_at IS NULL")
    everything = medforall_here("replay", "--clinic", world.clinic.id, environment=environment)
    assert everything.returncode == 0, everything.stdout + everything.stderr
    provider_id = world.provider_ids[0]
    some = medforall_here(
        "replay", "--clinic", world.clinic.id, "--resource", provider_id, environment=environment
    )

    def sent(output: str) -> int:
        line = next(line for line in output.splitlines() if "events sent again" in line)
        return int(line.split(", ")[1].split()[0])

    assert 0 < sent(some.stdout) < sent(everything.stdout)
