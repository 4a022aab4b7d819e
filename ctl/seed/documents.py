"""Demo clinics as documents that an import reads: the shipped clinic, each time elsewhere and with more people.

Services, rules, rooms, equipment, hours and closures stay as the shipped document has them. Each of its providers comes
several times over, with all that speaks of it, and so do its patients; people get made-up names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from ctl.seed import words
from ctl.transfer.reading import RawEntry, read_yaml

TEMPLATE: Final = Path(__file__).with_name("clinic.yaml")
"""The document that ships: `examples/clinic.yaml` is the same file."""

PROVIDERS: Final = 10
PATIENTS: Final = 200

# On the first day, which may lie 24 months ahead: everybody is born by today.
_AGE_DAYS_MIN: Final = 365 * 3
_AGE_DAYS_MAX: Final = 365 * 92


@dataclass(frozen=True, slots=True)
class DemoClinic:
    """The document of one demo clinic."""

    id: str
    number: int
    raws: tuple[RawEntry, ...]

    def entries(self) -> Iterator[RawEntry]:
        """Every entry, in the order of the shipped document."""
        return iter(self.raws)


def read_template() -> tuple[RawEntry, ...]:
    """The entries of the document that ships."""
    return tuple(read_yaml(TEMPLATE))


def demo_clinic(template: Sequence[RawEntry], number: int, *, seed: int, first_day: date) -> DemoClinic:
    """Clinic `number` (1 and up): the same for the same template, number, seed and first day."""
    makers = {
        "clinic": _Moved.clinic,
        "locations": _Moved.location,
        "providers": _Moved.provider,
        "service_rules": _Moved.rule,
        "windows": _Moved.of_a_provider,
        "preferences": _Moved.of_a_provider,
    }
    moved = _Moved(template, number, Random(f"{seed}/{number}"), first_day)  # noqa: S311 - made-up data
    made: list[RawEntry] = []
    for raw in template:
        if raw.section in makers:
            made += makers[raw.section](moved, raw)
        elif raw.section != "patients":
            made.append(raw)
    made += moved.patients([raw for raw in template if raw.section == "patients"])
    return DemoClinic(words.clinic_id(number), number, tuple(made))


class _Moved:
    """The template's entries as one clinic has them."""

    def __init__(self, template: Sequence[RawEntry], number: int, rng: Random, first_day: date) -> None:
        self._number = number
        self._rng = rng
        self._first_day = first_day
        self._zone = words.ZONES[(number - 1) % len(words.ZONES)]
        self._copies = _copies([raw.tree["id"] for raw in template if raw.section == "providers"])

    def clinic(self, raw: RawEntry) -> list[RawEntry]:
        word = words.CLINIC_WORDS[(self._number - 1) % len(words.CLINIC_WORDS)]
        name = (
            f"{word} Clinic" if self._number <= len(words.CLINIC_WORDS) else f"{word} Clinic {self._number}"
        )
        named = {"id": words.clinic_id(self._number), "name": name, "default_timezone": self._zone}
        return [_with(raw, named)]

    def location(self, raw: RawEntry) -> list[RawEntry]:
        """The place in the clinic's own city and zone."""
        address = dict(raw.tree.get("address") or {})
        city = self._zone.rpartition("/")[2].replace("_", " ")
        moved = {
            "address": {"street": address["street"], "city": city} if address else None,
            "timezone": None,
        }
        return [_with(raw, moved)]

    def provider(self, raw: RawEntry) -> list[RawEntry]:
        return [
            _with(raw, {"id": one, "name": f"Dr. {self._name()}"}) for one in self._copies[raw.tree["id"]]
        ]

    def of_a_provider(self, raw: RawEntry) -> list[RawEntry]:
        """What speaks of a provider, for each of its copies; of anything else, once."""
        field = next((name for name in ("provider_id", "resource_id") if raw.tree.get(name)), "")
        copies = self._copies.get(raw.tree.get(field, ""), ())
        if not copies:
            return [raw]
        return [_with(raw, {"id": _copy_id(raw.tree["id"], at), field: one}) for at, one in enumerate(copies)]

    def rule(self, raw: RawEntry) -> list[RawEntry]:
        """The rule, which names all copies where it names a provider."""
        payload = raw.tree.get("rule_payload") or {}
        if "provider_ids" in payload:
            ids = [one for word in payload["provider_ids"] for one in self._copies[word]]
            raw = _with(raw, {"rule_payload": {**payload, "provider_ids": ids}})
        return self.of_a_provider(raw)

    def patients(self, raws: Sequence[RawEntry]) -> list[RawEntry]:
        """Placeholders as they are, the others in turns until there are enough."""
        people = [raw for raw in raws if not raw.tree.get("placeholder")]
        placeholders = [raw for raw in raws if raw.tree.get("placeholder")]
        wanted = PATIENTS if people else 0
        return placeholders + [_with(people[at % len(people)], self._person(at + 1)) for at in range(wanted)]

    def _person(self, at: int) -> dict[str, Any]:
        name = self._name()
        born = self._first_day - timedelta(days=self._rng.randrange(_AGE_DAYS_MIN, _AGE_DAYS_MAX))
        contact = {
            "phone": f"+1555{self._rng.randrange(10**7):07d}",
            "email": f"{name.replace(' ', '.')}.{at}@example.com".lower(),
            "preferred_method": self._rng.choice(("phone", "email", "sms")),
        }
        return {"id": f"patient-{at}", "name": name, "dob": born.isoformat(), "contact": contact}

    def _name(self) -> str:
        return f"{self._rng.choice(words.GIVEN_NAMES)} {self._rng.choice(words.FAMILY_NAMES)}"


def _copies(provider_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """The ids of each provider's copies, the first of which is itself; ten in all, or as many as the template has."""
    return {
        word: tuple(
            _copy_id(word, at)
            for at in range(max(1, (PROVIDERS - place + len(provider_ids) - 1) // len(provider_ids)))
        )
        for place, word in enumerate(provider_ids)
    }


def _copy_id(word: str, at: int) -> str:
    return f"{word}-{at + 1}" if at else word


def _with(raw: RawEntry, changes: Mapping[str, Any]) -> RawEntry:
    """The entry with other values; a None says nothing, as in a file."""
    return RawEntry(raw.file, raw.section, raw.line, {**raw.tree, **changes}, raw.lines)
