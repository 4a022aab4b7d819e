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
    size_bytes: int
    calendar_ids: tuple[str, ...] = ()
    gap_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gap_owners: Mapping[str, str] = field(default_factory=dict)
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
    gaps = [rule for rule in static.rules if isinstance(rule.payload, Gap)]
    gap_ids = {
        provider.id: tuple(
            gap_id(rule.id, provider.id) for rule in gaps if rule.provider_id in (None, provider.id)
        )
        for provider in static.providers
    }
    return Place(
        clinic_id=clinic_id,
        facts=facts,
        size_bytes=4 * len(document),
        calendar_ids=(
            *(provider.id for provider in static.providers if provider.active),
            *(room.id for room in static.rooms if room.active),
            *(item.id for item in static.equipment if item.active),
        ),
        gap_ids=gap_ids,
        gap_owners={gap: provider_id for provider_id, gaps_of in gap_ids.items() for gap in gaps_of},
    )
