"""Events that the relay has parked, and those behind them: the bus never has them, so they are read from the outbox."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from database.transaction import Database
from scheduling.errors import DomainError

_log = structlog.get_logger(__name__)

_AT_ONCE: Final = 100
_KNOWN_MAX: Final = 10_000
_KEPT_BACK_SQL: Final = """
SELECT e.id, e.clinic_id::text, e.payload
FROM outbox_event p JOIN outbox_event e ON e.clinic_id = p.clinic_id AND e.aggregate_type = p.aggregate_type
    AND e.aggregate_id = p.aggregate_id AND e.id >= p.id AND e.published_at IS NULL
WHERE p.published_at IS NULL AND p.parked_at IS NOT NULL AND NOT e.id = ANY (%(known)s::bigint[])
ORDER BY e.id LIMIT %(limit)s
"""
_UNPUBLISHED_SQL: Final = """
SELECT id FROM outbox_event WHERE id = ANY (%(known)s::bigint[]) AND published_at IS NULL
"""


class KeptBack:
    """Projects what the relay keeps back, each event once by each process; whoever projects it again changes nothing.

    `project` takes an event's bytes, `give_up` the clinic of one that cannot be projected. So many are known at once:
    what is kept back beyond them waits until some of them are published, and is not taken for projected meanwhile.
    """

    def __init__(
        self,
        database: Database,
        project: Callable[[bytes], Awaitable[None]],
        give_up: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database = database
        self._project = project
        self._give_up = give_up
        self._known: set[int] = set()

    @property
    def known(self) -> list[int]:
        """The ids in the outbox of what has been projected though it is not published."""
        return sorted(self._known)

    async def project(self) -> None:
        """Forget what is published and project what is kept back and not known, so many at once. Raises Unavailable."""
        async with self._database.worker() as tx:
            if self._known:
                unpublished = await tx.rows(_UNPUBLISHED_SQL, {"known": self.known})
                self._known = {row[0] for row in unpublished}
            limit = min(_AT_ONCE, _KNOWN_MAX - len(self._known))
            rows = await tx.rows(_KEPT_BACK_SQL, {"known": self.known, "limit": limit})
        for event_id, clinic_id, payload in rows:
            if event_id in self._known:  # behind two that are parked
                continue
            try:
                await self._project(bytes(payload))
            except DomainError:
                raise
            except Exception:  # noqa: BLE001 - the event is to blame
                await self._give_up(clinic_id)
            _log.warning("projection.kept_back", outbox_id=event_id)
            self._known.add(event_id)
