"""What made-up clinics, people and places are called, and ids that follow from names."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("6d656466-6f72-5a11-8000-736565646564")

# The first three are the demo's; more clinics go around the world again.
ZONES: Final = (
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "America/Los_Angeles",
    "Europe/London",
    "Australia/Sydney",
    "America/Chicago",
    "Asia/Tokyo",
    "America/Sao_Paulo",
    "Africa/Nairobi",
    "America/Denver",
    "Asia/Kathmandu",
)
CLINIC_WORDS: Final = (
    "Harbor",
    "Linden",
    "Lotus",
    "Cedar",
    "Thames",
    "Coral",
    "Prairie",
    "Maple",
    "Palm",
    "Acacia",
)
GIVEN_NAMES: Final = (
    "Ada", "Amir", "Anna", "Arjun", "Bianca", "Carlos", "Chen", "Clara", "Daniel", "Divya", "Elena", "Emil",
    "Fatima", "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jonas", "Julia", "Kenji", "Lea", "Liam",
    "Maria", "Maya", "Milan", "Nadia", "Noah", "Nora", "Omar", "Paula", "Priya", "Rahul", "Rosa", "Samuel",
    "Sofia", "Tariq", "Tomas", "Uma", "Vera", "Victor", "Wanda", "Yara", "Yusuf", "Zoe",
)  # fmt: skip
FAMILY_NAMES: Final = (
    "Abbott", "Ahmed", "Almeida", "Banerjee", "Bauer", "Becker", "Brown", "Castillo", "Chandra", "Costa",
    "Dubois", "Eriksson", "Evans", "Fischer", "Garcia", "Gupta", "Haddad", "Hoffmann", "Ito", "Jansen",
    "Johnson", "Kaya", "Keller", "Khan", "Kowalski", "Lindqvist", "Lopez", "Mehta", "Meyer", "Moreau",
    "Murphy", "Nakamura", "Novak", "Okafor", "Patel", "Petrov", "Reyes", "Rossi", "Schmidt", "Sharma",
    "Silva", "Tanaka", "Thompson", "Vargas", "Weber", "Wilson", "Yilmaz", "Zhang",
)  # fmt: skip


def seed_id(*parts: object) -> str:
    """The id of what is named by these parts: the same in every run, whatever the seed and the start date."""
    return str(uuid5(_NAMESPACE, "/".join(map(str, parts))))


def clinic_id(number: int) -> str:
    """The id of clinic `number`; the first demo clinic is number 1."""
    return seed_id("clinic", number)
