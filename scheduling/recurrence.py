"""When a recurring window starts: wall-clock times, expanded without surprises.

Expansion walks only the periods (days, weeks, months, years) that touch what is asked for, so that neither
an old start nor a rule that never matches can make it run away. What it may look at is counted in days, not
in seconds: a busy machine must not turn a good rule into a refused one. Everything here is wall-clock time;
zones come in later.
"""

import calendar
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Final

from scheduling import localtime
from scheduling.rrule import Recurrence, Rule, parse, refusal

WINDOWS_A_YEAR_MAX: Final = 1_000
SPAN_DAYS_MAX: Final = 3_660
DAYS_EXAMINED_MAX: Final = 10_000


def validate(text: str, local_start: datetime) -> Recurrence:
    """Return what `text` says, or refuse it: the check for everything that is written.

    Beside its form: it must name years within bounds, must not end before it begins, must occur (and, with
    COUNT, end) within ten years, and must not make more than 1,000 windows in a year.
    """
    recurrence = parse(text)
    rule = recurrence.rule
    dates = (*recurrence.added, *recurrence.left_out, *((rule.until,) if rule and rule.until else ()))
    if any(localtime.is_far(day) for day in dates):
        raise refusal(f"must name years from {localtime.YEAR_MIN} to {localtime.YEAR_MAX} only")
    if rule is None:
        return recurrence
    if rule.until is not None and rule.until < local_start:
        raise refusal("UNTIL lies before the window's start")
    starts = _occurrences(rule, local_start, local_start, local_start + timedelta(days=SPAN_DAYS_MAX))
    if next(starts, None) is None:
        raise refusal("RRULE never occurs within ten years")
    if rule.count is not None and 1 + sum(1 for _ in starts) < rule.count:
        raise refusal("COUNT reaches further than ten years")
    year = _occurrences(rule, local_start, local_start, local_start + timedelta(days=366))
    if sum(1 for _ in year) + len(recurrence.added) > WINDOWS_A_YEAR_MAX:
        raise refusal(f"makes more than {WINDOWS_A_YEAR_MAX} windows in a year")
    return recurrence


def starts_between(text: str, local_start: datetime, low: datetime, high: datetime) -> list[datetime]:
    """Return the sorted starts in `[low, high)` of a window that first starts at `local_start`.

    A start that the RRULE does not name is no occurrence of it. Raises Invalid when the text is malformed or
    more than 10,000 days would have to be looked at (some 30 ms), which no rule that `validate` accepts
    needs for a year.
    """
    if not text:
        return [local_start] if low <= local_start < high else []
    recurrence = parse(text)
    if recurrence.rule is None:
        starts = {local_start} if low <= local_start < high else set()
    else:
        starts = set(_occurrences(recurrence.rule, local_start, low, high))
    starts.update(added for added in recurrence.added if low <= added < high)
    return sorted(starts - recurrence.left_out)


def _occurrences(rule: Rule, local_start: datetime, low: datetime, high: datetime) -> Iterator[datetime]:
    """Yield the rule's starts in `[low, high)`. A COUNT is counted from the first start."""
    last = high if rule.until is None or rule.until >= high else rule.until + timedelta(minutes=1)
    begin = low
    if rule.count is not None:
        begin, last = local_start, min(last, local_start + timedelta(days=SPAN_DAYS_MAX))
    seen = 0
    for group in _periods(rule, local_start, begin, last):
        for start in group:
            if start < local_start:
                continue
            if start >= last or (rule.count is not None and seen >= rule.count):
                return
            seen += 1
            if start >= low:
                yield start


def _periods(rule: Rule, local_start: datetime, low: datetime, high: datetime) -> Iterator[list[datetime]]:
    """Yield the sorted starts of each period, from the one that holds `low` to the one that holds `high`."""
    times = [
        timedelta(hours=hour, minutes=minute)
        for hour in sorted(rule.by_hour or (local_start.hour,))
        for minute in sorted(rule.by_minute or (local_start.minute,))
    ]
    is_day = _day_filter(rule, local_start)
    examined = 0
    for days in _DAYS_OF[rule.frequency](rule, local_start.date(), max(low, local_start).date(), high.date()):
        examined += len(days)
        if examined > DAYS_EXAMINED_MAX:
            raise refusal("takes too long to expand")
        starts = [
            datetime(day.year, day.month, day.day) + at  # noqa: DTZ001 - a wall clock has no zone
            for day in days
            if is_day(day)
            for at in times
        ]
        yield _at_positions(starts, rule.by_set_pos) if rule.by_set_pos else starts


def _at_positions(starts: list[datetime], positions: tuple[int, ...]) -> list[datetime]:
    """Return the starts at the BYSETPOS positions, which count from 1, or from the end when negative."""
    size = len(starts)
    indices = {position - 1 if position > 0 else size + position for position in positions}
    return [starts[index] for index in sorted(indices) if 0 <= index < size]


Days = Iterator[list[date]]


def _single_days(rule: Rule, start: date, low: date, high: date) -> Days:
    """Yield every interval-th day."""
    skipped = -(-(low - start).days // rule.interval) if low > start else 0
    for ordinal in range(start.toordinal() + skipped * rule.interval, high.toordinal() + 1, rule.interval):
        yield [date.fromordinal(ordinal)]


def _weeks(rule: Rule, start: date, low: date, high: date) -> Days:
    """Yield the days of every interval-th week, which begins on the rule's week start."""
    monday = start.toordinal() - (start.weekday() - rule.week_start) % 7
    step = 7 * rule.interval
    first = monday + max(0, low.toordinal() - monday) // step * step
    for ordinal in range(first, high.toordinal() + 1, step):
        yield [date.fromordinal(ordinal + day) for day in range(7)]


def _months(rule: Rule, start: date, low: date, high: date) -> Days:
    """Yield the days of every interval-th month."""
    begin, end = start.year * 12 + start.month - 1, high.year * 12 + high.month - 1
    first = begin + max(0, low.year * 12 + low.month - 1 - begin) // rule.interval * rule.interval
    for index in range(first, end + 1, rule.interval):
        year, month = divmod(index, 12)
        if not rule.by_month or month + 1 in rule.by_month:
            yield [date(year, month + 1, day + 1) for day in range(calendar.monthrange(year, month + 1)[1])]


def _years(rule: Rule, start: date, low: date, high: date) -> Days:
    """Yield the days of every interval-th year; of the rule's months only, where it names some."""
    first = start.year + max(0, low.year - start.year) // rule.interval * rule.interval
    months = sorted(rule.by_month) or range(1, 13)
    for year in range(first, high.year + 1, rule.interval):
        yield [
            date(year, month, day + 1)
            for month in months
            for day in range(calendar.monthrange(year, month)[1])
        ]


_DAYS_OF: Final[dict[str, Callable[[Rule, date, date, date], Days]]] = {
    "DAILY": _single_days,
    "WEEKLY": _weeks,
    "MONTHLY": _months,
    "YEARLY": _years,
}


_Test = Callable[[date], bool]


def _day_filter(rule: Rule, local_start: datetime) -> _Test:
    """Return the test that a day of a period must pass; parts that the start implies are filled in."""
    by_day, by_month, by_month_day = rule.by_day, rule.by_month, rule.by_month_day
    if not (by_day or by_month_day or rule.by_year_day or rule.by_week_no):
        if rule.frequency == "WEEKLY":
            by_day = ((0, local_start.weekday()),)
        elif rule.frequency in ("MONTHLY", "YEARLY"):
            by_month_day = (local_start.day,)
            if rule.frequency == "YEARLY":
                by_month = by_month or (local_start.month,)
    tests: list[_Test] = []
    if by_month:
        tests.append(lambda day: day.month in by_month)
    if by_day:
        tests.append(_weekday_test(by_day, within_month=rule.frequency == "MONTHLY" or bool(by_month)))
    if by_month_day:
        tests.append(lambda day: _is_month_day(day, by_month_day))
    if rule.by_year_day:
        tests.append(lambda day: _is_year_day(day, rule.by_year_day))
    if rule.by_week_no:
        tests.append(lambda day: _is_week(day, rule.by_week_no))
    return tests[0] if len(tests) == 1 else lambda day: all(test(day) for test in tests)


def _weekday_test(by_day: tuple[tuple[int, int], ...], *, within_month: bool) -> _Test:
    """Return the test of BYDAY; most rules name weekdays and no positions."""
    if not any(nth for nth, _ in by_day):
        weekdays = frozenset(weekday for _, weekday in by_day)
        return lambda day: day.weekday() in weekdays
    return lambda day: any(_is_nth(day, nth, weekday, within_month) for nth, weekday in by_day)


def _is_nth(day: date, nth: int, weekday: int, within_month: bool) -> bool:
    """Tell whether the day is the n-th such weekday of its month or year; 0 is any, negative from the end."""
    if day.weekday() != weekday:
        return False
    if nth == 0:
        return True
    position, length = _position(day, within_month)
    return (position - 1) // 7 + 1 == nth if nth > 0 else (length - position) // 7 + 1 == -nth


def _position(day: date, within_month: bool) -> tuple[int, int]:
    """Return the day's number within its month or year, from 1, and how many there are."""
    if within_month:
        return day.day, calendar.monthrange(day.year, day.month)[1]
    return day.timetuple().tm_yday, 366 if calendar.isleap(day.year) else 365


def _is_month_day(day: date, wanted: tuple[int, ...]) -> bool:
    """Tell whether the day of the month is wanted, counted from either end."""
    return day.day in wanted or day.day - calendar.monthrange(day.year, day.month)[1] - 1 in wanted


def _is_year_day(day: date, wanted: tuple[int, ...]) -> bool:
    """Tell whether the day of the year is wanted, counted from either end."""
    position, length = _position(day, within_month=False)
    return position in wanted or position - length - 1 in wanted


def _is_week(day: date, wanted: tuple[int, ...]) -> bool:
    """Tell whether the day's ISO week is wanted, counted from either end of its year."""
    iso = day.isocalendar()
    weeks = date(iso.year, 12, 28).isocalendar().week
    return iso.week in wanted or iso.week - weeks - 1 in wanted
