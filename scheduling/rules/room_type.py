"""`room_type`: only rooms of that type."""

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
class RequiredRoomType:
    """The payload."""

    room_type: str


class RoomType:
    """Several such rules must all be met by one room. A visit without a room is not concerned."""

    rule_type = "room_type"
    reason = Reason.ROOM_TYPE
    is_soft = False
    depends_on_provider = False
    basis = Basis.PLACE
    subject_kind = ResourceKind.ROOM

    def parse(self, payload: Mapping[str, object]) -> RequiredRoomType:
        """Read `room_type`."""
        reader = PayloadReader(self.rule_type, payload)
        found = RequiredRoomType(reader.word("room_type"))
        reader.finish()
        return found

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Refuse everything where there is no such room; whether one is free is the room check's to say."""
        return allocation.blocked_without_room_of_type(frame, payload_of(rule, RequiredRoomType).room_type)

    def sentence(self, rule: Rule) -> str:
        """Say which rooms will do."""
        return f"Only rooms of type {payload_of(rule, RequiredRoomType).room_type} will do."
