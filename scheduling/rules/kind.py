"""What every rule type offers, and the little that all share."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Protocol

from scheduling.errors import Reason
from scheduling.facts import Provider, ResourceKind, Rule
from scheduling.frame import Frame
from scheduling.timeline import Bits


class Basis(Enum):
    """What a condition's mask follows from: the less it is, the longer the mask may be kept.

    DIARY: one provider's hours and claims. PLACE: what the location has, and what is taken there. QUESTION: also
    the moment, the window, or whom the visit is for.
    """

    DIARY = auto()
    PLACE = auto()
    QUESTION = auto()


class RuleKind(Protocol):
    """One rule type. The verdict on a proposal is its mask at that minute, so the two cannot differ."""

    @property
    def rule_type(self) -> str:
        """The type's name in the contract."""

    @property
    def reason(self) -> Reason:
        """Why a proposal that it blocks is refused."""

    @property
    def is_soft(self) -> bool:
        """True when staff with an override may break it."""

    @property
    def depends_on_provider(self) -> bool:
        """False when its mask is the same for every provider that the rule binds."""

    @property
    def basis(self) -> Basis:
        """What its mask follows from, beside the rule itself."""

    @property
    def subject_kind(self) -> ResourceKind | None:
        """What kind of thing it is about, if any."""

    def parse(self, payload: Mapping[str, object]) -> object:
        """Return the payload as the type's own value, or raise Invalid with every field that is wrong."""

    def blocked(self, frame: Frame, rule: Rule, provider: Provider) -> Bits:
        """Return the starts that the rule refuses."""

    def sentence(self, rule: Rule) -> str:
        """Return what the rule says, for a person."""
