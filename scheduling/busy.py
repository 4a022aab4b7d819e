"""What is taken: claims by resource, and the timelines derived from them once.

A `Calendar` is one bucket of one resource: a day, a month, whatever the store keeps together. It may be kept
and shared between searches; its timelines are derived on first use. Several calendars of one resource may
overlap.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from scheduling import timeline
from scheduling.facts import Claim, PatientFacts
from scheduling.timeline import Bits, Horizon

_NONE: frozenset[str] = frozenset()
SERIALS: Final = count()


class Calendar:
    """The claims of one resource in one stretch of time. Immutable for its users.

    `serial` differs for each calendar: what is derived of one may be kept under it.
    """

    __slots__ = ("_by_unit", "_fleeting", "_span", "claims", "serial")

    def __init__(self, claims: Iterable[Claim]) -> None:
        self.claims = tuple(claims)
        self.serial = next(SERIALS)
        self._by_unit: dict[int, Bits] | None = None
        self._fleeting: tuple[Claim, ...] = ()
        self._span = Horizon(0, 0)

    def units(
        self, horizon: Horizon, now_min: float, ignored: frozenset[str] = _NONE
    ) -> Iterable[tuple[int, Bits]]:
        """Yield (unit, minutes taken) for every unit that is taken, as timelines of `horizon`.

        A unit may come more than once. Expired claims and those of `ignored` appointments do not count.
        """
        if not self.claims:
            return
        if ignored and any(claim.appointment_id in ignored for claim in self.claims):
            yield from self._without(horizon, now_min, ignored)
            return
        if self._by_unit is None:
            self._derive()
        if (
            self._by_unit
            and self._span.start_min < horizon.end_min
            and self._span.end_min > horizon.start_min
        ):
            for unit, bits in self._by_unit.items():
                yield unit, timeline.moved(bits, self._span, horizon)
        for claim in self._fleeting:
            if claim.is_live(now_min):
                yield claim.unit, timeline.interval(horizon, claim.start_min, claim.end_min)

    @property
    def has_holds(self) -> bool:
        """Tell whether some of what is taken is taken only until a hold ends."""
        return any(claim.expires_min is not None for claim in self.claims)

    def state(self, now_min: float) -> Hashable:
        """Return what names the time that is taken at `now_min`: the serial, and how many holds are left.

        Holds end one after another, so their number says which ones.
        """
        if self._by_unit is None:
            self._derive()
        if not self._fleeting:
            return self.serial
        return self.serial, sum(claim.is_live(now_min) for claim in self._fleeting)

    def _without(
        self, horizon: Horizon, now_min: float, ignored: frozenset[str]
    ) -> Iterable[tuple[int, Bits]]:
        """Yield the units without the ignored appointments, claim by claim: this is rare."""
        for claim in self.claims:
            if claim.is_live(now_min) and claim.appointment_id not in ignored:
                yield claim.unit, timeline.interval(horizon, claim.start_min, claim.end_min)

    def _derive(self) -> None:
        """Fold the claims that never expire into one timeline a unit; holds stay single."""
        lasting = [claim for claim in self.claims if claim.expires_min is None]
        by_unit: dict[int, Bits] = {}
        if lasting:
            self._span = Horizon(
                min(claim.start_min for claim in lasting), max(claim.end_min for claim in lasting)
            )
            by_unit = _fold(lasting, self._span)
        self._fleeting = tuple(claim for claim in self.claims if claim.expires_min is not None)
        self._by_unit = by_unit


class KeptCalendars(dict[str, tuple[Calendar, ...]]):
    """Calendars by resource that outlive a question. Not to be changed once they are asked for their state."""

    _named: tuple[tuple[int, ...], tuple[Calendar, ...]] | None = None

    def state(self, now_min: float) -> Hashable:
        """Return what names all the time that is taken at `now_min`."""
        if self._named is None:
            calendars = [calendar for found in self.values() for calendar in found]
            holding = tuple(calendar for calendar in calendars if calendar.has_holds)
            self._named = tuple(calendar.serial for calendar in calendars), holding
        serials, holding = self._named
        return (serials, *[calendar.state(now_min) for calendar in holding]) if holding else serials


@dataclass(frozen=True, slots=True)
class BusyFacts:
    """The claims a search or proposal reads, and the patient's visits when it is for a patient.

    `calendars` holds, by resource id, every bucket that touches the time `resources.busy_span` names. A
    resource that is not in it is free. Quotas and gaps are resources like the others.

    `kept` holds those of the calendars that outlive the question, all but the patient's: then a search keeps what
    it derives of them, and derives it for whole weeks, so that searches of other days find it.
    """

    calendars: Mapping[str, tuple[Calendar, ...]] = field(default_factory=dict)
    patient: PatientFacts | None = None
    kept: KeptCalendars | None = None

    @classmethod
    def of(cls, claims: Iterable[Claim], patient: PatientFacts | None = None) -> "BusyFacts":
        """Return facts from a plain run of claims, in any order."""
        grouped: dict[str, list[Claim]] = {}
        for claim in claims:
            grouped.setdefault(claim.resource_id, []).append(claim)
        return cls({key: (Calendar(found),) for key, found in grouped.items()}, patient)

    def claims_of(self, resource_id: str) -> Iterable[Claim]:
        """Yield the resource's claims; one that lies in two buckets comes twice."""
        for calendar in self.calendars.get(resource_id, ()):
            yield from calendar.claims


def _fold(claims: list[Claim], span: Horizon) -> dict[int, Bits]:
    """Return one timeline of `span` for every unit."""
    grouped: dict[int, list[tuple[int, int]]] = {}
    for claim in claims:
        grouped.setdefault(claim.unit, []).append((claim.start_min, claim.end_min))
    return {unit: timeline.intervals(span, pairs) for unit, pairs in grouped.items()}
