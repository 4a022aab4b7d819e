"""Who calls."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """A caller's role, as the token's `role` claim spells it."""

    ADMIN = "admin"
    FRONT_DESK = "front_desk"
    PROVIDER = "provider"
    PATIENT = "patient"
    SERVICE = "service"
    PLATFORM = "platform"


_STAFF: Final = (Role.ADMIN, Role.FRONT_DESK, Role.PROVIDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A verified caller.

    `clinic_id` is empty for role `platform` only. Times are Unix seconds.
    """

    subject: str
    role: Role
    clinic_id: str = ""
    scopes: frozenset[str] = frozenset()
    patient_id: str | None = None
    provider_id: str | None = None
    token_id: str | None = None
    expires_at_s: int = 0

    @property
    def reads_phi(self) -> bool:
        """Whether the caller may know what is a patient's: a clinic's people, and whoever has the scope."""
        return self.role in _STAFF or self.has_scope("read:phi")

    def has_scope(self, scope: str) -> bool:
        """Whether the token carries `scope`."""
        return scope in self.scopes
