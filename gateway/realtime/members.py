"""Everybody who is connected and authenticated: admitted, renewed, and shown out when a token ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import structlog

from chassis.auth.principal import Principal
from chassis.tasks import end_tasks
from gateway.realtime.instruments import Instruments
from gateway.realtime.link import Link
from gateway.realtime.protocol import CloseCode
from gateway.realtime.revocation_checks import RevocationChecks, Revocations
from gateway.realtime.session import Outlet, Session
from scheduling.channels import Viewer, check_join, parse_channel
from scheduling.errors import DomainError, Exhausted, Forbidden, Unauthenticated, Unavailable

_log = structlog.get_logger(__name__)

SCOPE: Final = "read:appointments"
_SWEEP_BATCH: Final = 500

End = Callable[[CloseCode], None]


class Member:
    """One authenticated connection."""

    __slots__ = ("_timer", "end", "principal", "session", "transport")

    def __init__(self, principal: Principal, session: Session, end: End, transport: str) -> None:
        self.principal = principal
        self.session = session
        self.end = end
        self.transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def expire_in(self, life_s: float) -> None:
        """End the connection after `life_s` unless it is renewed before."""
        self.stop_clock()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, life_s), self.end, CloseCode.TOKEN_EXPIRED)

    def stop_clock(self) -> None:
        """Let nothing happen by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Members:
    """Admits connections and keeps watch over their tokens."""

    name = "realtime members"

    def __init__(
        self,
        link: Link,
        life_s: Callable[[Principal], float],
        revocations: Revocations,
        instruments: Instruments,
        *,
        members_max: int,
        user_members_max: int,
        sweep_s: float,
    ) -> None:
        self._link = link
        self._life_s = life_s
        self._revocations = revocations
        self._checks = RevocationChecks(revocations)
        self._instruments = instruments
        self._members_max = members_max
        self._user_members_max = user_members_max
        self._sweep_s = sweep_s
        self._members: dict[Member, None] = {}
        self._sweeping: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._members)

    async def admit(self, principal: Principal, outlet: Outlet, end: End, transport: str) -> Member:
        """Take a connection in.

        Raises Forbidden for a token that may not listen, Unauthenticated for a revoked one, Exhausted when its user
        has too many, Unavailable when full.
        """
        await self._check(principal)
        if self._link.connections_of(principal.clinic_id, principal.subject) >= self._user_members_max:
            raise Exhausted(f"A user has at most {self._user_members_max} connections.")
        if len(self._members) >= self._members_max:
            raise Unavailable("This instance holds as many connections as it can.", retry_after_s=1.0)
        member = Member(principal, Session(viewer_of(principal), principal.subject, outlet), end, transport)
        member.expire_in(self._life_s(principal))
        self._members[member] = None
        self._instruments.connections.labels(transport).inc()
        self._link.arrive(principal.clinic_id, principal.subject)
        return member

    async def renew(self, member: Member, principal: Principal) -> list[str]:
        """Go on under a newer token of the same user; the channels that it may not hear, which are left."""
        old = member.principal
        if (principal.subject, principal.clinic_id) != (old.subject, old.clinic_id):
            raise Forbidden("A connection is renewed with a token of the same user and clinic.")
        await self._check(principal)
        if member not in self._members:
            raise Unavailable("The connection has ended meanwhile.")
        member.principal = principal
        member.session.viewer = viewer_of(principal)
        member.expire_in(self._life_s(principal))
        lost = [name for name in sorted(member.session.channels) if not _may_join(member, name)]
        self._link.feeds.unsubscribe(member.session, lost)
        return lost

    async def _check(self, principal: Principal) -> None:
        check_may_listen(principal)
        try:
            is_revoked = await self._checks.is_revoked(principal)
        except Unavailable:
            # The sweep finds it as soon as it can be known.
            _log.warning("members.revocations_unknown")
            return
        if is_revoked:
            raise Unauthenticated("The token was revoked.")

    def dismiss(self, member: Member) -> None:
        """Forget a connection; it hears nothing from here on. Again does nothing."""
        if member not in self._members:
            return
        del self._members[member]
        member.stop_clock()
        self._link.feeds.forget(member.session)
        self._link.depart(member.principal.clinic_id, member.principal.subject)
        self._instruments.connections.labels(member.transport).dec()

    async def start(self) -> None:
        """Begin to look for revoked tokens."""
        self._sweeping = asyncio.create_task(self._sweep(), name="realtime:revocations")

    async def stop(self) -> None:
        """Show everybody out: they connect elsewhere and resume."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            await end_tasks(sweeping)
        for member in tuple(self._members):
            member.end(CloseCode.GOING_AWAY)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            try:
                await self.end_revoked()
            except Unavailable:
                _log.warning("members.revocations_unknown")

    async def end_revoked(self) -> None:
        """End every connection whose token was revoked. Raises Unavailable."""
        for batch in _batches(tuple(self._members)):
            revoked = await self._revocations.revoked(member.principal for member in batch)
            for member in batch:
                if member.principal in revoked:
                    member.end(CloseCode.REVOKED)


def check_may_listen(principal: Principal) -> None:
    """Raise Forbidden unless the token allows realtime at all."""
    if not principal.clinic_id or not principal.has_scope(SCOPE):
        raise Forbidden(f"Realtime needs a clinic's token with the scope {SCOPE}.")


def viewer_of(principal: Principal) -> Viewer:
    """What decides which channels `principal` may join and what it sees there."""
    return Viewer(
        role=principal.role,
        clinic_id=principal.clinic_id,
        reads_phi=principal.reads_phi,
        provider_id=principal.provider_id,
        patient_id=principal.patient_id,
    )


def _may_join(member: Member, name: str) -> bool:
    try:
        check_join(member.session.viewer, parse_channel(name))
    except DomainError:
        return False
    return True


def _batches(members: tuple[Member, ...]) -> Iterator[list[Member]]:
    remaining = iter(members)
    while batch := list(islice(remaining, _SWEEP_BATCH)):
        yield batch
