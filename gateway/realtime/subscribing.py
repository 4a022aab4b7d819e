"""Joining channels, as WebSocket and SSE do it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.realtime.link import Link
from gateway.realtime.session import Session
from scheduling.channels import CHANNELS_MAX, Viewer, check_join, parse_channel
from scheduling.errors import DomainError, Exhausted, Unavailable
from scheduling.positions import Position

_ANSWER_WITHIN_S: Final = 30.0
"""Long enough for thousands who come back at once: giving up earlier would only make them come again."""

Refused = list[tuple[str, DomainError]]


class SessionGone(Exception):
    """The session ended while it waited."""


def sort_out(names: Sequence[str], viewer: Viewer) -> tuple[list[str], Refused]:
    """The channels that `viewer` may join, each once, and the others with the reason why not."""
    wanted: dict[str, None] = {}
    refused: Refused = []
    for name in names:
        try:
            channel = parse_channel(name[:128])
            check_join(viewer, channel)
            wanted[str(channel)] = None
        except DomainError as error:
            refused.append((name[:128], error))
    return list(wanted), refused


def check_count(link: Link, session: Session, channels: Sequence[str]) -> None:
    """Raise Exhausted when `session`, or its clinic at this gateway, would have too many channels."""
    if len(session.channels.union(channels)) > CHANNELS_MAX:
        raise Exhausted(f"A connection has at most {CHANNELS_MAX} channels.")
    if link.feeds.channel_count(session.clinic_id, channels) > link.clinic_channels_max:
        raise Exhausted(f"Users of a clinic listen to at most {link.clinic_channels_max} channels here.")


async def join(
    link: Link, session: Session, channels: Sequence[str], resume_from: Position | None = None
) -> None:
    """Return once `channels` are live; what was missed is told meanwhile.

    Raises SessionGone, or Unavailable when realtime_svc does not answer: the session then has no channels.
    """
    answered = link.feeds.subscribe(session, channels, resume_from)
    if not answered.done():
        await asyncio.wait({answered}, timeout=_ANSWER_WITHIN_S)
    if answered.cancelled():
        raise SessionGone
    if not answered.done():
        link.feeds.forget(session)
        raise Unavailable("Realtime is not reachable at the moment; subscribe again.", retry_after_s=1.0)


def sequence_of(link: Link, session: Session) -> str:
    """Where the client stands: everything up to here was sent, and may be resumed from. Empty: nowhere yet."""
    position = link.feeds.position
    if session.position is None:
        return ""
    if position is None or session.is_held or not session.channels:
        return str(session.position)
    return str(session.position.joined(position))
