"""`medforall access`: what an operator types reaches the services."""

import asyncio

import pytest
from typer.testing import CliRunner

from chassis.auth.principal import Principal, Role
from chassis.auth.revocations import Revocations
from chassis.cache import AsyncCache, build_breaker
from chassis.settings import RedisSettings
from ctl.access import app

_ANN = Principal(subject="ann", role=Role.FRONT_DESK, clinic_id="c1", token_id="t1")
_BOB = Principal(subject="bob", role=Role.FRONT_DESK, clinic_id="c1", token_id="t2")


async def _revoked(redis_url: str) -> set[Principal]:
    settings = RedisSettings(url=redis_url)
    cache = AsyncCache(settings, build_breaker(settings))
    try:
        return await Revocations(cache).revoked([_ANN, _BOB])
    finally:
        await cache.stop()


def _run(*arguments: str) -> int:
    return CliRunner().invoke(app, arguments).exit_code


def test_a_user_and_a_token_are_shut_out_and_a_user_let_in(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """revoke works by user and by token, restore by user; half an order is refused."""
    monkeypatch.setenv("MEDFORALL_REDIS_URL", redis_url)
    assert _run("revoke", "--user", "ann") == 1
    assert _run("revoke", "--clinic", "C1", "--user", "ann") == 0
    assert _run("revoke", "--token-id", "t2") == 0
    assert asyncio.run(_revoked(redis_url)) == {_ANN, _BOB}
    assert _run("restore", "--clinic", "c1", "--user", "ann") == 0
    assert asyncio.run(_revoked(redis_url)) == {_BOB}
