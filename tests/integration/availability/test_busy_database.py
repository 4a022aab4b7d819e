"""A pool whose connections are all in use: the database has not failed, and what is remembered is used."""

import pytest

from availability_svc.layers import Layer
from availability_svc.wiring import build_stores
from chassis.metrics import Metrics
from ctl.ports import free_port
from scheduling.errors import Exhausted, Unavailable
from tests.integration.availability.conftest import World
from tests.integration.availability.test_remembering import Memory


@pytest.fixture
def one_connection(world: World) -> Memory:
    """The sources over one connection, without Redis."""
    settings = world.settings(
        MEDFORALL_DATABASE_POOL_MIN="1",
        MEDFORALL_DATABASE_POOL_MAX="1",
        MEDFORALL_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
    )
    return Memory(build_stores(settings, Metrics()))


def test_what_is_remembered_is_used_while_all_connections_are(one_connection: Memory, world: World) -> None:
    """Its time is over and nobody else knows: a search gets what is remembered, what is not is OVERLOADED."""
    memory, truth = one_connection, one_connection.stores.truth
    truth.open()
    try:
        place, _ = memory.locations.get(world.clinic.id, world.location_id)
        before, _ = memory.read(place)
        memory.now_s += 11
        with truth._primary.connection():
            assert memory.locations.get(world.clinic.id, world.location_id) == (place, Layer.L1)
            after, layer = memory.read(place)
            assert (dict(after), layer) == (dict(before), Layer.L1)
            with pytest.raises(Exhausted):
                truth.location_ids(world.clinic.id)
    finally:
        truth.close()
        memory.stores.cache.client.close()


def test_a_probe_that_never_came_to_the_database_lets_the_next_one_look(
    one_connection: Memory, world: World
) -> None:
    """The breaker is open, the probe finds every connection in use or fails by itself: the next call is let through."""
    truth, pool = one_connection.stores.truth, one_connection.stores.truth._primary
    now_s = [1_000.0]
    truth.open()
    try:
        truth.location_ids(world.clinic.id)
        pool._breaker._now_s = lambda: now_s[0]
        with pool.connection():
            for _ in range(3):
                pool._breaker.failed()
            with pytest.raises(Unavailable):
                truth.location_ids(world.clinic.id)
            now_s[0] += 3
            with pytest.raises(Exhausted):
                truth.location_ids(world.clinic.id)
            assert pool._breaker.is_open
        for _ in range(3):
            pool._breaker.failed()
        now_s[0] += 3
        with pytest.raises(KeyError), pool.connection():
            raise KeyError
        assert pool._breaker.is_open
        assert truth.location_ids(world.clinic.id)
        assert not pool._breaker.is_open
    finally:
        truth.close()
        one_connection.stores.cache.client.close()
