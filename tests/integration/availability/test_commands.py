"""`medforall projection` against real servers."""

import psycopg
import redis

from availability_svc.calendars import RECORD_BYTES
from availability_svc.store import keys
from tests.integration.availability.conftest import World
from tests.support.command import medforall


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


def test_replay_sends_a_clinics_events_again(world: World) -> None:
    """It says how many, and a resource narrows them."""
    environment = _environment(world)
    with psycopg.connect(world.database.owner_url) as owner:
        owner.execute("UPDATE outbox_event SET published_at = now() WHERE published_at IS NULL")
    everything = medforall("replay", "--clinic", world.clinic.id, environment=environment)
    assert everything.returncode == 0, everything.stdout + everything.stderr
    provider_id = world.provider_ids[0]
    some = medforall(
        "replay", "--clinic", world.clinic.id, "--resource", provider_id, environment=environment
    )

    def sent(output: str) -> int:
        return int(next(line for line in output.splitlines() if "events sent again" in line).split()[0])

    assert 0 < sent(some.stdout) < sent(everything.stdout)
