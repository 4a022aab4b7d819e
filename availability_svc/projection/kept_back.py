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


class KeptBack:
    """Projects what the relay keeps back, each event once by each process; whoever projects it again changes nothing.

    `project` takes an event's bytes, `give_up` the clinic of one that cannot be projected.
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
        """Project what is kept back and not known yet, so many at once. Raises Unavailable."""
        async with self._database.worker() as tx:
            rows = await tx.rows(_KEPT_BACK_SQL, {"known": self.known, "limit": _AT_ONCE})
        if len(self._known) + len(rows) > _KNOWN_MAX:
            self._known.clear()
        for event_id, clinic_id, payload in rows:
            if event_id in self._known:
                continue
            try:
                await self._project(bytes(payload))
            except DomainError:
                raise
            except Exception:  # noqa: BLE001 - the event is to blame
                await self._give_up(clinic_id)
            _log.warning("projection.kept_back", outbox_id=event_id)
            self._known.add(event_id)
