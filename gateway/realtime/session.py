"""One client's subscriptions: every message once, in order, in the form that it may see."""

from __future__ import annotations

from typing import Final, Protocol

from gateway.realtime.news import Form, News
from scheduling.channels import Viewer
from scheduling.positions import Position

HELD_MAX: Final = 2_000
"""Live messages that wait while what a client missed is sent to it."""


class Outlet(Protocol):
    """The way to a client. Nothing waits; what cannot be kept ends the connection."""

    def tell(self, form: Form, position: Position) -> None:
        """Send a message after which the client stands at `position`."""
        ...

    def resync(self, position: Position, reason: str) -> None:
        """Send the news that a gap cannot be filled and that one goes on from `position`."""
        ...

    def overflow(self) -> None:
        """End the connection: its reader is too slow."""
        ...


class Session:
    """A connection that is authenticated.

    While `is_held`, live messages wait: something that comes before them is still under way. The position only
    grows, so that nothing is told twice whatever is sent again.
    """

    __slots__ = ("_held", "_outlet", "channels", "position", "subject", "viewer", "waits")

    def __init__(self, viewer: Viewer, subject: str, outlet: Outlet) -> None:
        self.viewer = viewer
        self.subject = subject
        self.channels: set[str] = set()
        self.position: Position | None = None
        self.waits = 0
        self._outlet = outlet
        self._held: list[News] = []

    @property
    def clinic_id(self) -> str:
        """The clinic of the token."""
        return self.viewer.clinic_id

    @property
    def is_held(self) -> bool:
        """Whether live messages wait."""
        return self.waits > 0

    def hear(self, news: News) -> None:
        """Take a live message."""
        if not self.waits:
            self._tell(news)
        elif len(self._held) < HELD_MAX:
            self._held.append(news)
        else:
            self._outlet.overflow()

    def hear_again(self, news: News) -> None:
        """Take a message that was missed, or waited, unless its channels have been left."""
        if not self.channels.isdisjoint(news.channels):
            self._tell(news)

    def hold(self) -> None:
        """Let live messages wait until the matching `release`."""
        self.waits += 1

    def release(self, position: Position, resync_reason: str | None = None) -> None:
        """Go live: everything up to `position` has been told, or cannot be, for this reason."""
        if resync_reason is not None:
            self.position = position
            self._outlet.resync(position, resync_reason)
        elif self.position is None:
            self.position = position
        if self.let_go():
            self.position = self.position.joined(position)

    def let_go(self) -> bool:
        """Undo a `hold` without having come anywhere; True when it was the last, and what waited has been told."""
        self.waits -= 1
        if self.waits:
            return False
        held, self._held = self._held, []
        for news in held:
            self.hear_again(news)
        return True

    def drop_held(self) -> None:
        """Keep no live message: what the client missed, these among it, is sent again."""
        self._held.clear()

    def leave(self) -> None:
        """Be as new: nothing is heard, awaited or held, and the client stands nowhere."""
        self.channels.clear()
        self.waits = 0
        self._held.clear()
        self.position = None

    def reset(self, position: Position, reason: str) -> None:
        """Go on from `position`, which may lie before where the client was: the streams were made anew."""
        self._held.clear()
        self.position = position
        self._outlet.resync(position, reason)

    def _tell(self, news: News) -> None:
        at = self.position
        if at is None:
            at = news.position
        elif at.covers(news.source, news.position):
            return
        elif news.position.reaches(at):
            at = news.position
        else:
            at = at.joined(news.position)
        self.position = at
        form = news.form_for(self.viewer)
        if form is not None:
            self._outlet.tell(form, at)
