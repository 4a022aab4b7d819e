"""The servers that all integration tests stand on."""

import json
import urllib.request

import nats
import psycopg
import redis


def test_postgres_is_18_and_durable(postgres_url: str) -> None:
    """The session's PostgreSQL is version 18, syncs its writes and keeps parameters out of its log."""
    with psycopg.connect(postgres_url) as connection:
        version = connection.info.server_version
        settings = {
            name: connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            for name in ("fsync", "synchronous_commit", "deadlock_timeout", "log_parameter_max_length")
        }
    assert version // 10_000 == 18
    assert settings == {
        "fsync": ("on",),
        "synchronous_commit": ("on",),
        "deadlock_timeout": ("200ms",),
        "log_parameter_max_length": ("0",),
    }


async def test_nats_keeps_a_message_in_a_stream(nats_url: str) -> None:
    """JetStream is on: a published message is stored and read back."""
    client = await nats.connect(nats_url)
    try:
        stream = client.jetstream()
        await stream.add_stream(name="SESSION_CHECK", subjects=["session.check"])
        ack = await stream.publish("session.check", b"kept")
        message = await stream.get_msg("SESSION_CHECK", ack.seq)
        assert message.data == b"kept"
        await stream.delete_stream("SESSION_CHECK")
    finally:
        await client.close()


def test_nats_syncs_each_write(nats_monitor_url: str) -> None:
    """An acknowledged event is on the disk, not in a cache that is flushed every two minutes."""
    with urllib.request.urlopen(f"{nats_monitor_url}/jsz", timeout=5) as answer:  # noqa: S310 - ours
        assert json.load(answer)["config"]["sync_always"] is True


def test_valkey_answers(redis_url: str) -> None:
    """Valkey takes the password of its URL and keeps a value."""
    with redis.Redis.from_url(redis_url) as client:
        client.set("session:check", b"1", ex=10)
        assert client.get("session:check") == b"1"
