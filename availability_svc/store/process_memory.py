"""All that this process remembers, as the listener that hears of changes."""

from collections.abc import Sequence

from availability_svc.store.calendar_source import CalendarSource
from availability_svc.store.location_source import LocationSource
from availability_svc.store.outline_source import OutlineSource


class ProcessMemory:
    """Forgets what has changed."""

    def __init__(self, locations: LocationSource, outlines: OutlineSource, calendars: CalendarSource) -> None:
        self._locations = locations
        self._outlines = outlines
        self._calendars = calendars

    def calendars_changed(self, clinic_id: str, versions: Sequence[tuple[str, int]]) -> None:
        """Forget these calendars, and remember that they have these versions."""
        self._calendars.changed(clinic_id, versions)

    def directory_changed(self, clinic_id: str, location_ids: Sequence[str]) -> None:
        """Forget these locations, or all of the clinic's when none is named, and what the clinic has."""
        self._locations.changed(clinic_id, location_ids)
        self._outlines.changed(clinic_id)

    def everything_changed(self) -> None:
        """Forget everything."""
        self._locations.clear()
        self._outlines.clear()
        self._calendars.clear()
