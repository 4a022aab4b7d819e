"""`required_equipment_type`: units of a type at the location, possibly from several items."""

# ruff: noqa: ARG002 - every rule type is asked with the provider, also where it makes no difference

from collections.abc import Mapping
from dataclasses import dataclass

from scheduling import allocation
from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, Rule
from scheduling.frame import Frame
from scheduling.rules.kind import Basis
from scheduling.rules.payload import PayloadReader, payload_of
from scheduling.timeline import Bits


@dataclass(frozen=True, slots=True)
class RequiredUnits:
    """The payload."""

    equipment_type: str
    min_units: int


class RequiredEquipmentType:
    """Two rules for one type ask for the greater number, not for the sum."""

    rule_type = "required_equipment_type"
    reason = Reason.EQUIPMENT_UNAVAILABLE
    is_soft = False
    depends_on_provider = False
    basis = Basis.PLACE
    subject_kind = ResourceKind.EQUIPMENT

    def parse(self, payload: Mapping[str, object]) -> RequiredUnits:
        """Read `equipment_type` and `min_units`, which is 1 unless it is given."""
        reader = PayloadReader(self.rule_type, payload)
        found = RequiredUnits(reader.word("equipment_type"), reader.number("min_units", 1, 1_000) or 1)
        reader.finish()
        return found

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse the starts for which fewer units are each free for the whole time."""
        wanted = payload_of(rule, RequiredUnits)
        return allocation.equipment_blocked(frame, wanted.equipment_type, wanted.min_units)

    def sentence(self, rule: Rule) -> str:
        """Say how many units of what are needed."""
        wanted = payload_of(rule, RequiredUnits)
        return f"Needs {wanted.min_units} unit(s) of {wanted.equipment_type}."
