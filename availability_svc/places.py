"""A location as it is kept in memory: its facts, with everything that is worked out of them once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from database.facts import Label, LocationFacts, build_location
from scheduling.facts import Rule, StaticFacts
from scheduling.ids import gap_id
from scheduling.rules.max_daily import DailyLimit
from scheduling.rules.min_gap import Gap

_SERIALS: Final = count()


@dataclass(slots=True)
class Place:
    """One location of one clinic.

    `calendar_ids` are the providers, rooms and equipment items that may serve here, `gap_ids` the gaps that each
    provider's calendar also holds. `serial` differs for each reading. `prepared` is for what the wire makes of it.
    """

    clinic_id: str
    facts: LocationFacts
    calendar_ids: tuple[str, ...] = ()
    gap_ids: dict[str, tuple[str, ...]] = field(default_factory=dict)
    serial: int = field(default_factory=lambda: next(_SERIALS))
    prepared: dict[str, Any] = field(default_factory=dict)

    @property
    def static(self) -> StaticFacts:
        """What the engine is told of the location."""
        return self.facts.static

    @property
    def id(self) -> str:
        """The location's id."""
        return self.facts.static.location.id

    @property
    def zone(self) -> str:
        """The location's IANA zone."""
        return self.facts.static.location.zone

    @property
    def provider_labels(self) -> Mapping[str, Label]:
        """Names by provider."""
        return self.facts.providers

    def learn_gaps(self, calendar_id: str) -> None:
        """Note the gaps that the calendar of somebody who does not serve here holds: rules bind the whole clinic."""
        if calendar_id not in self.gap_ids and calendar_id not in self.calendar_ids:
            self.gap_ids[calendar_id] = gaps_of(self.static, calendar_id)

    def quota_rules(self, service_id: str) -> tuple[Rule, ...]:
        """Return the daily limits that bind a service."""
        return tuple(
            rule
            for rule in self.static.rules
            if isinstance(rule.payload, DailyLimit) and rule.service_id in (None, service_id)
        )


def place_of(clinic_id: str, document: str | bytes) -> Place:
    """Return the place that a location's document describes."""
    facts = build_location(document)
    static = facts.static
    return Place(
        clinic_id=clinic_id,
        facts=facts,
        calendar_ids=(
            *(provider.id for provider in static.providers if provider.active),
            *(room.id for room in static.rooms if room.active),
            *(item.id for item in static.equipment if item.active),
        ),
        gap_ids={provider.id: gaps_of(static, provider.id) for provider in static.providers},
    )


def gaps_of(static: StaticFacts, provider_id: str) -> tuple[str, ...]:
    """Return the gaps that a provider's calendar holds beside its own claims."""
    return tuple(
        gap_id(rule.id, provider_id)
        for rule in static.rules
        if isinstance(rule.payload, Gap) and rule.provider_id in (None, provider_id)
    )
