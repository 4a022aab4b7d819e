"""What a search costs as it grows: the service's own work, without gRPC, by providers and days."""

from __future__ import annotations

import time

from availability_svc.places import Place
from availability_svc.rpc.slots import SlotWriter
from bench.engine import DAYS, PROVIDERS, START_MIN, claims_of, static_facts
from database.facts import Label, LocationFacts
from scheduling.busy import BusyFacts, Calendar
from scheduling.derived import DerivedCache
from scheduling.facts import SlotRequest, TimeOfDay
from scheduling.search import SearchQuery, search


def cpu_ms(providers: int, days: int, rounds: int = 9) -> float:
    """Median CPU of searching what is in memory and writing a page of 50 slots.

    Nothing is kept of the order that an earlier search has put the slots in, as after a booking at the place: of large
    places it is kept for some windows and not for others, and a table of both would compare two things.
    """
    static, request = static_facts(providers), SlotRequest("service", preferred_time_of_day=TimeOfDay.MORNING)
    busy = BusyFacts({key: (Calendar(found),) for key, found in claims_of(static, days).items()})
    place = Place("clinic", _facts(static))
    cache, writer, spent = DerivedCache(), SlotWriter(), []
    query = SearchQuery(request, START_MIN, START_MIN + days * 1440)
    for _ in range(rounds + 2):
        began = time.thread_time()
        writer.write(place, search(static, busy, query, START_MIN - 600, cache).page(50))
        spent.append((time.thread_time() - began) * 1_000)
    return sorted(spent[2:])[rounds // 2]


def _facts(static: object) -> LocationFacts:
    return LocationFacts(
        static=static,  # type: ignore[arg-type]  # what bench.engine makes
        name="",
        active=True,
        clinic_status="active",
        public_search=False,
        providers={provider.id: Label("Dr. Somebody", "Cardiology") for provider in static.providers},  # type: ignore[attr-defined]
        rooms={room.id: Label("Room", "exam") for room in static.rooms},  # type: ignore[attr-defined]
    )


def print_growth() -> None:
    """Print the table."""
    print("service CPU per search of 50 slots, ms, facts in memory, put in order anew")
    print("providers" + "".join(f"{days:>7} d" for days in DAYS))
    for providers in PROVIDERS:
        print(f"{providers:>9}" + "".join(f"{cpu_ms(providers, days):>9.2f}" for days in DAYS))


if __name__ == "__main__":
    print_growth()
