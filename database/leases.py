"""Leases in PostgreSQL: expiry by the database's clock, a token that grows with every new holder."""

from __future__ import annotations

from chassis.leases import Lease
from database.transaction import Database

# A holder that asks again while it holds keeps its token; whoever comes after an expiry gets the next one.
_ACQUIRE = """
    INSERT INTO lease AS held (name, holder, expires_at)
    VALUES (%(name)s, %(holder)s, clock_timestamp() + %(ttl_ms)s * interval '1 millisecond')
    ON CONFLICT (name) DO UPDATE SET
        holder = excluded.holder,
        token = held.token + (held.holder <> excluded.holder OR held.expires_at <= clock_timestamp())::int,
        acquired_at = clock_timestamp(),
        expires_at = excluded.expires_at
    WHERE held.expires_at <= clock_timestamp() OR held.holder = excluded.holder
    RETURNING token
"""
_RENEW = """
    UPDATE lease SET expires_at = clock_timestamp() + %(ttl_ms)s * interval '1 millisecond'
    WHERE name = %(name)s AND holder = %(holder)s AND token = %(token)s AND expires_at > clock_timestamp()
"""
# The row stays, because it remembers the token.
_RELEASE = """
    UPDATE lease SET expires_at = clock_timestamp()
    WHERE name = %(name)s AND holder = %(holder)s AND token = %(token)s AND expires_at > clock_timestamp()
"""


class PostgresLeases:
    """A `LeaseStore` on the workers' database. Its methods raise Unavailable while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """Take the lease when it is free, expired or already `holder`'s; None when another one holds it."""
        async with self._database.worker() as tx:
            row = await tx.row(_ACQUIRE, {"name": name, "holder": holder, "ttl_ms": ttl_ms})
        return None if row is None else Lease(name=name, holder=holder, token=row[0])

    async def renew(self, lease: Lease, ttl_ms: int) -> bool:
        """Extend a lease that is still held under the same token; False when it was lost."""
        async with self._database.worker() as tx:
            return bool(await tx.run(_RENEW, {**_key(lease), "ttl_ms": ttl_ms}))

    async def release(self, lease: Lease) -> None:
        """Give the lease up if it is still held under the same token."""
        async with self._database.worker() as tx:
            await tx.send(_RELEASE, _key(lease))


def _key(lease: Lease) -> dict[str, object]:
    return {"name": lease.name, "holder": lease.holder, "token": lease.token}
