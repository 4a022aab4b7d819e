"""One seeded clinic in a database of its own, and a Redis database that nobody else uses."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis

from availability_svc.settings import AvailabilitySettings
from availability_svc.usecases.verify_projection import ProjectionCare
from availability_svc.wiring import Stores, build_stores
from chassis.auth.signing import SigningKey, generate_signing_key, public_jwks
from chassis.config import load
from chassis.encryption import MasterKey
from chassis.master_keys import MasterKeys
from chassis.metrics import Metrics
from ctl.seed.documents import read_template
from ctl.seed.facts import ClinicFacts, read_clinic
from ctl.seed.load import SeedOptions, seed_clinics
from ctl.seed.words import clinic_id
from ctl.transfer.sections import id_of
from scheduling.facts import Provider
from tests.support.availability_service import Running, running
from tests.support.databases import MigratedDatabase, migrated_database
from tests.support.servers import Servers

FIRST_DAY = datetime.now(UTC).date()
_DATABASE = {"gw0": 5, "gw1": 6}


@dataclass(frozen=True, slots=True)
class World:
    """A seeded database and the environment of a process that serves it."""

    database: MigratedDatabase
    clinic: ClinicFacts
    environment: dict[str, str]
    signing: SigningKey

    @property
    def service_ids(self) -> list[str]:
        """The services in the order of the document that the clinic is made from, the plainest first."""
        return [id_of(raw.tree["id"], self.clinic.id) for raw in read_template() if raw.section == "services"]

    @property
    def location_id(self) -> str:
        """The location where most providers work."""
        return self.clinic.locations[0].static.location.id

    @property
    def provider_ids(self) -> list[str]:
        """The providers who work there all week."""
        static = self.clinic.locations[0].static
        return [provider.id for provider in static.providers if _works_at(provider, self.location_id)]

    def settings(self, **changes: str) -> AvailabilitySettings:
        """The settings of a process, with some variables changed."""
        return load(AvailabilitySettings, {**self.environment, **changes})


def _works_at(provider: Provider, location_id: str) -> bool:
    return any(window.location_id == location_id for window in provider.schedule.windows)


@pytest.fixture(scope="session")
def seeded(postgres_url: str) -> Iterator[tuple[MigratedDatabase, ClinicFacts]]:
    """A database with one clinic and a week of visits."""
    keys = MasterKeys([MasterKey("test", os.urandom(32))])
    with migrated_database(postgres_url) as database:
        seed_clinics(database.owner_url, keys, SeedOptions(clinics=1, days=7, first_day=FIRST_DAY))
        with psycopg.connect(database.owner_url) as owner:
            # No relay runs here: what seeding tells would be on its way for ever.
            owner.execute("UPDATE outbox_event SET published_at = now() WHERE published_at IS NULL")
            clinic = read_clinic(owner, clinic_id(1))
        yield database, clinic


@pytest.fixture
def redis_own_url(servers: Servers) -> str:
    """A database of the session's Valkey that is empty at first."""
    number = _DATABASE.get(os.environ.get("PYTEST_XDIST_WORKER", ""), 7)
    url = f"{servers.redis_url.rstrip('/').removesuffix('/0')}/{number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def world(
    seeded: tuple[MigratedDatabase, ClinicFacts], redis_own_url: str, nats_url: str, tmp_path: Path
) -> World:
    """Everything a process needs, on the session's servers."""
    database, clinic = seeded
    signing = generate_signing_key("EdDSA", kid="test-key")
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(public_jwks([signing])))
    return World(
        database=database,
        clinic=clinic,
        signing=signing,
        environment={
            "MEDFORALL_APP_DATABASE_URL": database.app_url,
            "MEDFORALL_WORKER_DATABASE_URL": database.worker_url,
            "MEDFORALL_REDIS_URL": redis_own_url,
            "MEDFORALL_NATS_URL": nats_url,
            "MEDFORALL_JWKS": str(jwks),
            "MEDFORALL_ENVIRONMENT": "test",
            "MEDFORALL_LOG_LEVEL": "error",
            "MEDFORALL_DATABASE_POOL_TIMEOUT_MS": "500",
            "MEDFORALL_REDIS_TIMEOUT_MS": "400",
        },
    )


@pytest.fixture
def stores(world: World) -> Iterator[Stores]:
    """The stores alone, without a server."""
    made = build_stores(world.settings(), Metrics())
    made.truth.open()
    yield made
    made.truth.close()
    made.cache.client.close()


@pytest.fixture
def care(stores: Stores) -> ProjectionCare:
    """What verifies and warms the projections."""
    return ProjectionCare(
        stores.truth, stores.projection, stores.locations, stores.outlines, stores.calendars
    )


@pytest.fixture
async def service(world: World) -> AsyncIterator[Running]:
    """The service on the session's servers."""
    async with running(world.settings()) as started:
        yield started
