"""Which of this gateway's sessions hear which channel, and what must be asked of realtime_svc for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from medforall.realtime.v1 import realtime_pb2 as wire

from gateway.realtime.news import News
from gateway.realtime.session import Session
from scheduling.positions import Position, parse_position

Say = Callable[[wire.ConnectRequest], None]

_JOIN_MAX: Final = 1_000
"""Channels of one `Join`, well below what the contract allows."""

_REASONS = {
    wire.RESYNC_REASON_EXPIRED: "position_expired",
    wire.RESYNC_REASON_TOO_MUCH: "too_much_missed",
    wire.RESYNC_REASON_RESET: "streams_reset",
}
_RESET: Final = _REASONS[wire.RESYNC_REASON_RESET]


class Feed:
    """One clinic's channels."""

    __slots__ = ("asked", "clinic_id", "listeners", "live", "resume_from")

    def __init__(self, clinic_id: str) -> None:
        self.clinic_id = clinic_id
        self.listeners: dict[str, dict[Session, None]] = {}
        # Channels that realtime_svc sends, and the last request that joined each: the answer to an earlier one,
        # overtaken by a leave, makes nothing live.
        self.live: set[str] = set()
        self.asked: dict[str, int] = {}
        # Where to go on from after the stream broke; None while it stands.
        self.resume_from: Position | None = None

    def sessions(self) -> set[Session]:
        """Everybody who listens."""
        return {session for listeners in self.listeners.values() for session in listeners}

    def deliver(self, news: News) -> None:
        """Hand a live message to each listener once."""
        listening = [listeners for name in news.channels if (listeners := self.listeners.get(name))]
        if len(listening) == 1:
            for session in tuple(listening[0]):
                session.hear(news)
            return
        for session in dict.fromkeys(session for listeners in listening for session in listeners):
            session.hear(news)


@dataclass(slots=True)
class PendingJoin:
    """A `Join` that is not answered yet, and whom its answer concerns; without `answered`, a rejoin by the gateway."""

    clinic_id: str
    channels: tuple[str, ...]
    sessions: list[Session]
    answered: asyncio.Future[Position] | None = None
    resume_from: Position | None = None


@dataclass(slots=True)
class Feeds:
    """All clinics of this gateway. Pure bookkeeping: `say` sends to realtime_svc, and may drop while it is away."""

    say: Say
    position: Position | None = None
    _clinics: dict[str, Feed] = field(default_factory=dict)
    _pending: dict[int, PendingJoin] = field(default_factory=dict)
    _next_request: int = 1
    _is_up: bool = False

    def subscribe(
        self, session: Session, channels: Collection[str], resume_from: Position | None
    ) -> asyncio.Future[Position]:
        """Let `session` hear `channels`; done, with where it stands, once it is live there.

        With `resume_from`, which only a session without channels may give, what was missed is told first.
        """
        feed = self._clinics.setdefault(session.clinic_id, Feed(session.clinic_id))
        for name in channels:
            feed.listeners.setdefault(name, {})[session] = None
        session.channels.update(channels)
        answered: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        if resume_from is None and self.position is not None and feed.live.issuperset(channels):
            session.hold()
            session.release(self.position)
            answered.set_result(self.position)
            return answered
        if resume_from is not None:
            session.position = resume_from
        session.hold()
        self._join(PendingJoin(session.clinic_id, tuple(channels), [session], answered, resume_from))
        return answered

    def unsubscribe(self, session: Session, channels: Iterable[str]) -> None:
        """Let `session` hear `channels` no more."""
        feed = self._clinics.get(session.clinic_id)
        if feed is None:
            return
        left = [name for name in channels if self._leave(feed, session, name)]
        for name in left:
            feed.live.discard(name)
            feed.asked.pop(name, None)
        if left and self._is_up:
            self.say(wire.ConnectRequest(leave=wire.Leave(clinic_id=feed.clinic_id, channels=left)))
        if not feed.listeners:
            del self._clinics[session.clinic_id]

    def _leave(self, feed: Feed, session: Session, name: str) -> bool:
        """Take a listener away; True when it was the channel's last."""
        session.channels.discard(name)
        listeners = feed.listeners.get(name)
        if listeners is None or session not in listeners:
            return False
        del listeners[session]
        if listeners:
            return False
        del feed.listeners[name]
        return True

    def forget(self, session: Session) -> None:
        """Let `session` hear nothing more: its connection is gone, or has waited too long and asks afresh."""
        self.unsubscribe(session, tuple(session.channels))
        session.leave()
        for pending in self._pending.values():
            if session in pending.sessions:
                pending.sessions.remove(session)
                if pending.answered is not None:
                    pending.answered.cancel()

    def channel_count(self, clinic_id: str, besides: Collection[str] = ()) -> int:
        """Distinct channels of a clinic that somebody here listens to, with those of `besides`."""
        feed = self._clinics.get(clinic_id)
        if feed is None:
            return len(besides)
        return len(feed.listeners) + sum(name not in feed.listeners for name in besides)

    def _join(self, pending: PendingJoin) -> None:
        request_id, self._next_request = self._next_request, self._next_request + 1
        self._pending[request_id] = pending
        if self._is_up:
            self._say_join(request_id, pending)

    def _say_join(self, request_id: int, pending: PendingJoin) -> None:
        feed = self._clinics[pending.clinic_id]
        feed.asked.update(dict.fromkeys(pending.channels, request_id))
        resume_from = "" if pending.resume_from is None else str(pending.resume_from)
        self.say(
            wire.ConnectRequest(
                join=wire.Join(
                    request_id=request_id,
                    clinic_id=pending.clinic_id,
                    channels=pending.channels,
                    resume_from=resume_from,
                )
            )
        )

    def on_up(self) -> None:
        """Join everything again: the stream to realtime_svc stands anew."""
        self._is_up = True
        self._ask_again()
        for feed in self._clinics.values():
            resume_from, feed.resume_from = feed.resume_from, None
            settled = [session for session in feed.sessions() if not session.is_held]
            if resume_from is None or not settled:
                continue
            for session in settled:
                session.hold()
            for sessions in _together(settled):
                self._join(PendingJoin(feed.clinic_id, _channels_of(sessions), sessions, None, resume_from))

    def _ask_again(self, resume_from: Position | None = None) -> None:
        """Ask what was not answered yet again, from `resume_from`, else from where each session has come to."""
        pending, self._pending = self._pending, {}
        for join in pending.values():
            start = resume_from or join.resume_from
            if resume_from is None and join.answered is not None and join.sessions:
                # What it listened to before it asked for more has a gap now too.
                start = join.sessions[0].position or start
            for sessions in _together(join.sessions):
                again = PendingJoin(join.clinic_id, _channels_of(sessions), sessions, join.answered, start)
                if again.channels:
                    self._join(again)
                else:
                    self._settle_nowhere(again)

    def on_down(self) -> None:
        """Note where to go on from: the stream broke."""
        self._is_up = False
        for feed in self._clinics.values():
            if feed.resume_from is None and self.position is not None:
                feed.resume_from = self._unfinished(feed) or self.position
            feed.live.clear()
            feed.asked.clear()
            for session in feed.sessions():
                session.drop_held()

    def _unfinished(self, feed: Feed) -> Position | None:
        """Where a rejoin that is still under way began."""
        began = [
            join.resume_from
            for join in self._pending.values()
            if join.clinic_id == feed.clinic_id and join.answered is None and join.resume_from is not None
        ]
        return began[0] if began else None

    def on_item(self, item: wire.ConnectResponse) -> None:
        """Apply what realtime_svc says."""
        kind = item.WhichOneof("item")
        if kind == "delivery":
            self._on_delivery(item.delivery)
        elif kind == "joined":
            self._on_joined(item.joined)
        elif kind == "position":
            self.position = parse_position(item.position)
        elif kind == "reset":
            self._on_reset(item.reset)

    def _on_delivery(self, delivery: wire.Delivery) -> None:
        news = News(delivery)
        if delivery.request_id:
            pending = self._pending.get(delivery.request_id)
            for session in tuple(pending.sessions) if pending else ():
                session.hear_again(news)
            return
        feed = self._clinics.get(news.clinic_id)
        if feed is not None:
            feed.deliver(news)
        self.position = news.position

    def _on_joined(self, joined: wire.Joined) -> None:
        pending = self._pending.pop(joined.request_id, None)
        if pending is None:
            return
        position = parse_position(joined.position)
        feed = self._clinics.get(pending.clinic_id)
        if feed is not None:
            feed.live.update(name for name in pending.channels if feed.asked.get(name) == joined.request_id)
        reason = _REASONS.get(joined.resync.reason, "unknown") if joined.HasField("resync") else None
        if self.position is None or self.position.epoch != position.epoch or reason == _RESET:
            # What was known is of streams that are no more.
            self.position = position
        self._settle(pending, position, reason)

    def _settle_nowhere(self, pending: PendingJoin) -> None:
        """Let sessions go that have left every channel while they waited."""
        for session in pending.sessions:
            session.let_go()
        if pending.answered is not None and not pending.answered.done():
            pending.answered.set_result(pending.resume_from or Position())

    def _settle(self, pending: PendingJoin, position: Position, reason: str | None) -> None:
        for session in pending.sessions:
            session.release(position, reason)
        if pending.answered is not None and not pending.answered.done():
            pending.answered.set_result(position)

    def _on_reset(self, reset: wire.Resync) -> None:
        """Go on from where the streams stand now; what was asked before is answered by positions of the old ones."""
        self.position = parse_position(reset.position)
        for feed in self._clinics.values():
            for session in feed.sessions():
                session.reset(self.position, _RESET)
        self._ask_again(self.position)

    @property
    def clinic_count(self) -> int:
        """Clinics that somebody listens to."""
        return len(self._clinics)


def _channels_of(sessions: Iterable[Session]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for session in sessions for name in session.channels))


def _together(sessions: Iterable[Session]) -> Iterator[list[Session]]:
    """Sessions whose channels go into one `Join`.

    A session is never split: what it missed is told in one go, in order, over all its channels.
    """
    group: list[Session] = []
    channels: set[str] = set()
    for session in sessions:
        if group and len(channels | session.channels) > _JOIN_MAX:
            yield group
            group, channels = [], set()
        group.append(session)
        channels |= session.channels
    if group:
        yield group
