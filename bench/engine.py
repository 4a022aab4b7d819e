"""What one search costs: milliseconds of one core, by providers and days.

    python -m bench.engine [--rounds N] [--profile PROVIDERSxDAYS]

A 30-minute service with buffers of 5 and 10 minutes on a 15-minute grid, ten rooms with turnaround, about 60 % booked,
a clock change in the range, three rules, ranked by score, a page of 50. Both tables keep what is derived
from schedules between searches, as a service does; `warm` folds all claims anew each time, `hot` keeps them folded.
"""

# ruff: noqa: DTZ001 - a wall clock has no zone

import argparse
import cProfile
import pstats
import random
import time
from collections.abc import Mapping
from datetime import datetime

from scheduling import localtime
from scheduling.busy import BusyFacts, Calendar, KeptCalendars
from scheduling.derived import DerivedCache
from scheduling.facts import (
    Claim,
    Location,
    Preference,
    Provider,
    Room,
    Rule,
    Schedule,
    Service,
    SlotRequest,
    StaticFacts,
    TimeOfDay,
    Window,
    WindowKind,
)
from scheduling.ids import gap_id, quota_id
from scheduling.rules.registry import parse_payload
from scheduling.search import SearchQuery, search

ZONE, ROOMS, BOOKED = "America/New_York", 10, 0.6
PROVIDERS, DAYS = (1, 5, 20, 50, 100), (1, 7, 31, 93)
START_MIN = localtime.parse_local("2026-03-02", ZONE)


def static_facts(providers: int) -> StaticFacts:
    """Return a clinic with weekday hours and a lunch break."""
    weekdays = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"
    windows = (
        Window(WindowKind.AVAILABLE, datetime(2026, 1, 5, 9), datetime(2026, 1, 5, 17), None, weekdays),
        Window(WindowKind.UNAVAILABLE, datetime(2026, 1, 5, 12), datetime(2026, 1, 5, 13), None, weekdays),
    )
    payloads: tuple[tuple[str, dict[str, object]], ...] = (
        ("min_gap", {"min_gap_minutes": 5}),
        ("max_daily", {"max_per_day": 14, "scope": "provider"}),
        ("lead_time", {"min_minutes": 120, "max_days_ahead": 365}),
    )
    rules = tuple(
        Rule(f"rule-{n}", kind, parse_payload(kind, given)) for n, (kind, given) in enumerate(payloads)
    )
    return StaticFacts(
        Location("location", ZONE),
        (Service("service", 30, buffer_before_min=5, buffer_after_min=10),),
        tuple(
            Provider(f"provider-{n:03d}", Schedule(windows), (Preference(70, windows=((540, 720),)),))
            for n in range(providers)
        ),
        tuple(Room(f"room-{n}", turnaround_min=15) for n in range(ROOMS)),
        rules=rules,
    )


def claims_of(static: StaticFacts, days: int) -> dict[str, list[Claim]]:
    """Return claims that take about 60 % of every provider's day, and rooms, quotas and gaps with them."""
    rng, found = random.Random(7), dict[str, list[Claim]]()
    for day in range(days):
        for provider in static.providers:
            for hour in range(8):
                if rng.random() > BOOKED * 1.1:
                    continue
                start = START_MIN + day * 1440 + 9 * 60 + hour * 60
                who, appointment = provider.id, f"{provider.id}-{day}-{hour}"
                local_date = localtime.day_at(ZONE, start)
                bounds = localtime.day_bounds(ZONE, local_date)
                quota = quota_id("rule-1", "location", local_date, who)
                for resource_id, unit, low, high in (
                    (who, 1, start - 5, start + 40),
                    (f"room-{rng.randrange(ROOMS)}", 1, start - 5, start + 45),
                    (gap_id("rule-0", who), 1, start, start + 35),
                    (quota, hour + 1, *bounds),
                ):
                    found.setdefault(resource_id, []).append(Claim(resource_id, unit, low, high, appointment))
    return found


def kept_facts(claims: Mapping[str, list[Claim]]) -> BusyFacts:
    """Return facts whose calendars are kept between searches."""
    kept = KeptCalendars({key: (Calendar(found),) for key, found in claims.items()})
    return BusyFacts(kept, kept=kept)


def cpu_ms(rounds: int, providers: int, days: int, *, hot: bool) -> float:
    """Return the median CPU time of a search and its first page."""
    static, request = static_facts(providers), SlotRequest("service", preferred_time_of_day=TimeOfDay.MORNING)
    claims, cache = claims_of(static, days), DerivedCache()
    calendars, kept = {key: (Calendar(found),) for key, found in claims.items()}, kept_facts(claims)
    spent = []
    for _ in range(rounds + 2):
        if not hot:
            calendars = {key: (Calendar(found),) for key, found in claims.items()}
        begin = time.thread_time()
        query = SearchQuery(request, START_MIN, START_MIN + days * 1440)
        search(static, kept if hot else BusyFacts(calendars), query, START_MIN - 600, cache).page(50)
        spent.append((time.thread_time() - begin) * 1000)
    return sorted(spent[2:])[rounds // 2]


def main() -> None:
    """Print the table, or a profile of one cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", metavar="PROVIDERSxDAYS")
    options = parser.parse_args()
    if options.profile:
        providers, days = map(int, options.profile.split("x"))
        profiler = cProfile.Profile()
        profiler.runcall(cpu_ms, options.rounds * 10, providers, days, hot=True)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
        return
    for name, hot in (("hot: claims already folded", True), ("warm: claims folded anew", False)):
        print(f"\n{name}; ms of one core for a search and its first 50 slots")
        print("providers" + "".join(f"{days:>7} d" for days in DAYS))
        for providers in PROVIDERS:
            row = (cpu_ms(options.rounds, providers, days, hot=hot) for days in DAYS)
            print(f"{providers:>9}" + "".join(f"{ms:>9.2f}" for ms in row))


if __name__ == "__main__":
    main()
