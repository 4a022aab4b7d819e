"""Which clinics answer callers without a token."""

from __future__ import annotations


class NoPublicClinics:
    """No clinic is open: what holds until a clinic opens its search."""

    async def is_open(self, clinic_id: str) -> bool:  # noqa: ARG002
        """Never."""
        return False
