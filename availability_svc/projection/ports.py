"""What the workers write to: adapters are built by the wiring."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from availability_svc.calendars import CalendarChange


class Projection(Protocol):
    """The shared projections. Each method raises Unavailable when they are away."""

    def apply(self, changes: Iterable[CalendarChange]) -> int:
        """Apply changes, each at most once and never over a newer one; return how many were new."""
        ...

    def forget(self, clinic_id: str, calendar_ids: Iterable[str]) -> None:
        """Make every bucket of some calendars invalid."""
        ...

    def forget_clinic(self, clinic_id: str) -> None:
        """Make every bucket of a clinic invalid."""
        ...

    def follow_streams(self, incarnation: str, before: str = "") -> bool:
        """Note from which streams the projections are made; if they were others before, make everything invalid."""
        ...

    def directory_changed(self, clinic_id: str) -> None:
        """Make every location's document of a clinic invalid."""
        ...


class Locations(Protocol):
    """Documents of locations, read anew for those that are searched."""

    def renew(self, clinic_id: str, location_ids: Sequence[str]) -> int:
        """Read the kept documents of these locations (of all, when none is named) anew; return how many."""
        ...


class Listener(Protocol):
    """This process's own memory, told of every change."""

    def calendars_changed(self, clinic_id: str, versions: Sequence[tuple[str, int]]) -> None:
        """Forget these calendars, and remember that they have these versions."""
        ...

    def directory_changed(self, clinic_id: str, location_ids: Sequence[str]) -> None:
        """Forget these locations, or all of the clinic's when none is named."""
        ...

    def everything_changed(self) -> None:
        """Forget everything: changes may have been missed."""
        ...
