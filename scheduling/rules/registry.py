"""All rule types by name. Any other type is refused when it is written, never ignored when it is read."""

from collections.abc import Mapping
from typing import Final

from scheduling.errors import Invalid
from scheduling.facts import Rule
from scheduling.rules.allowed_provider import AllowedProvider
from scheduling.rules.blackout_dates import BlackoutDates
from scheduling.rules.kind import RuleKind
from scheduling.rules.lead_time import LeadTime
from scheduling.rules.max_daily import MaxDaily
from scheduling.rules.min_gap import MinGap
from scheduling.rules.patient_limit import PatientLimit
from scheduling.rules.required_equipment_type import RequiredEquipmentType
from scheduling.rules.room_type import RoomType

MAX_DAILY: Final = MaxDaily()
MIN_GAP: Final = MinGap()
LEAD_TIME: Final = LeadTime()
ALLOWED_PROVIDER: Final = AllowedProvider()

_KINDS: Final[tuple[RuleKind, ...]] = (
    ALLOWED_PROVIDER,
    RequiredEquipmentType(),
    RoomType(),
    MIN_GAP,
    MAX_DAILY,
    LEAD_TIME,
    BlackoutDates(),
    PatientLimit(),
)
RULE_KINDS: Final[Mapping[str, RuleKind]] = {kind.rule_type: kind for kind in _KINDS}


def kind_of(rule: Rule) -> RuleKind:
    """Return the rule's type."""
    return _kind(rule.rule_type)


def parse_payload(rule_type: str, payload: Mapping[str, object]) -> object:
    """Return the payload as the type's own value. Raises Invalid for an unknown type or a bad payload."""
    return _kind(rule_type).parse(payload)


def _kind(rule_type: str) -> RuleKind:
    """Return a rule type by name, or refuse the name."""
    kind = RULE_KINDS.get(rule_type)
    if kind is None:
        raise Invalid.field("rule_type", f"must be one of {', '.join(RULE_KINDS)}")
    return kind
