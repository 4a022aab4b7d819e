"""The last messages, kept in memory: a storm of reconnecting readers asks nobody else."""

from __future__ import annotations

from collections import deque

from realtime_svc.messages import Outgoing
from scheduling.positions import Position


class Recent:
    """The newest messages of all clinics, `messages_max` at most, in the order in which they were sent."""

    def __init__(self, messages_max: int, floor: Position) -> None:
        self._messages_max = messages_max
        self._all: deque[Outgoing] = deque()
        self._by_clinic: dict[str, deque[Outgoing]] = {}
        self._floor = floor

    def add(self, message: Outgoing) -> None:
        """Remember `message`, and forget the oldest one when there are too many."""
        self._all.append(message)
        self._by_clinic.setdefault(message.clinic_id, deque()).append(message)
        if len(self._all) > self._messages_max:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._all.popleft()
        of_clinic = self._by_clinic[oldest.clinic_id]
        of_clinic.popleft()
        if not of_clinic:
            del self._by_clinic[oldest.clinic_id]
        self._floor = oldest.position

    def since(self, start: Position, clinic_id: str) -> list[Outgoing] | None:
        """The clinic's messages after `start`, or None when some of them may be forgotten."""
        if start.epoch != self._floor.epoch or not start.reaches(self._floor):
            return None
        kept = self._by_clinic.get(clinic_id, ())
        return [message for message in kept if not start.covers(message.source, message.position)]
