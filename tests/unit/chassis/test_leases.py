"""Work that runs once: whoever holds the lease, and nobody without."""

import asyncio

from chassis.leases import Lease, LeaseRunner
from scheduling.errors import Unavailable


class MemoryStore:
    """Leases of one process, expiring by the loop's clock; a test may take it away."""

    def __init__(self) -> None:
        self.is_away = False
        self.holder: str | None = None
        self.token = 0
        self.expires_at_s = 0.0

    def _now_s(self) -> float:
        if self.is_away:
            raise Unavailable
        return asyncio.get_running_loop().time()

    async def acquire(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        now_s = self._now_s()
        if self.holder not in (None, holder) and self.expires_at_s > now_s:
            return None
        self.holder, self.token, self.expires_at_s = holder, self.token + 1, now_s + ttl_ms / 1_000
        return Lease(name=name, holder=holder, token=self.token)

    async def renew(self, lease: Lease, ttl_ms: int) -> bool:
        now_s = self._now_s()
        if self.token != lease.token:
            return False
        self.expires_at_s = now_s + ttl_ms / 1_000
        return True

    async def release(self, lease: Lease) -> None:
        self._now_s()
        if self.token == lease.token:
            self.holder = None


class Work:
    """Counts how many do it at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.leases: list[Lease] = []
        self.begun = asyncio.Event()

    async def __call__(self, lease: Lease) -> None:
        self.leases.append(lease)
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.now -= 1


def runner(store: MemoryStore, holder: str, work: Work, ttl_ms: int = 120) -> LeaseRunner:
    return LeaseRunner(store, "sweep", holder, work, ttl_ms=ttl_ms, retry_ms=5)


async def cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_holder_works_and_the_next_takes_over() -> None:
    """Two runners, one works; when it ends, the other begins with a larger token."""
    store, work = MemoryStore(), Work()
    first = asyncio.create_task(runner(store, "a", work).run())
    await work.begun.wait()
    second = asyncio.create_task(runner(store, "b", work).run())
    await asyncio.sleep(0.03)
    assert [lease.holder for lease in work.leases] == ["a"]
    work.begun.clear()
    await cancel(first)
    await asyncio.wait_for(work.begun.wait(), 5)
    await cancel(second)
    assert [lease.holder for lease in work.leases] == ["a", "b"]
    assert work.leases[1].token > work.leases[0].token
    assert work.most == 1


async def test_a_renewed_lease_outlives_its_time() -> None:
    """As long as the holder renews, nobody else gets the lease."""
    store, work = MemoryStore(), Work()
    first = asyncio.create_task(runner(store, "a", work).run())
    second = asyncio.create_task(runner(store, "b", work).run())
    await work.begun.wait()
    await asyncio.sleep(0.4)
    await cancel(first, second)
    assert len(work.leases) == 1


async def test_a_lost_lease_ends_the_work() -> None:
    """When somebody else has taken the lease, the work is cancelled."""
    store, work = MemoryStore(), Work()
    running = asyncio.create_task(runner(store, "a", work).run())
    await work.begun.wait()
    store.holder, store.token = "thief", 99
    store.expires_at_s = asyncio.get_running_loop().time() + 60
    async with asyncio.timeout(5):
        while work.now:  # noqa: ASYNC110 - a condition with a deadline
            await asyncio.sleep(0.005)
    await cancel(running)
    assert len(work.leases) == 1


async def test_work_stops_before_an_unrenewable_lease_expires() -> None:
    """When the store is away, the work is cancelled while nobody else can have the lease yet."""
    store, work = MemoryStore(), Work()
    held = runner(store, "a", work, ttl_ms=300)
    running = asyncio.create_task(held.run())
    await work.begun.wait()
    expires_at_s = store.expires_at_s
    store.is_away = True
    async with asyncio.timeout(5):
        while work.now:  # noqa: ASYNC110 - a condition with a deadline
            await asyncio.sleep(0.002)
    assert asyncio.get_running_loop().time() < expires_at_s
    assert not held.is_held.is_set()
    await cancel(running)


async def test_finished_work_gives_the_lease_up() -> None:
    """Work that returns ends the run and frees the lease at once; a failure is passed on."""
    store = MemoryStore()

    async def done(_: Lease) -> None:
        return

    async def broken(_: Lease) -> None:
        raise ValueError("defect")

    await LeaseRunner(store, "sweep", "a", done).run()
    assert store.holder is None
    outcome = await asyncio.gather(LeaseRunner(store, "sweep", "b", broken).run(), return_exceptions=True)
    assert isinstance(outcome[0], ValueError)
    assert store.holder is None
