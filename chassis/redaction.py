"""Takes patient data out of what is about to be logged.

Two nets. Keys: only known ones pass, whatever else is a mistake and its value is dropped. Patterns: phones,
mail addresses, dates of birth, the values in PostgreSQL's `DETAIL: Key (x)=(y)`, tokens, passwords in URLs,
in every string that passes, tracebacks included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

_DEPTH_MAX = 4
_ITEMS_MAX = 50
_STRING_CHARS_MAX = 2_048
_TRACE_CHARS_MAX = 12_000
_SEARCHED_CHARS_MAX = 32_768
_SHORTEST_SECRET_CHARS = 6
_CLEAN_CHARS_MAX = 160
_CLEAN_MAX = 4_096

# Keys that a log line may carry: identifiers, counts, durations, codes. Never free text from a request.
ALLOWED_KEYS = frozenset(
    """
    event message level timestamp logger service environment trace_id span_id request_id clinic_id user_id
    duration_ms metadata exception stack exc_info stack_info method path status code reason kind part loop
    lease name holder token_fence version port host address url attempt attempts failures retries count rows
    bytes size limit offset lag_ms age_ms ttl_ms wait_ms timeout_ms deadline_ms remaining_ms started_at
    ended_at appointment_id patient_id provider_id room_id equipment_id location_id service_id resource_id
    resource_kind rule_id window_id hold_id series_id waitlist_id event_id event_type aggregate_id
    aggregate_version stream subject consumer sequence deliveries pending partition key_id kid role action
    result state flag cache_hit layer slots_returned candidates peer protocol sqlstate constraint error_type
    error pid exit_code signal table index query_name migration revision batch published parked connections
    channel dropped interval_ms step index_name database pool waiting available open
    """.split()  # noqa: SIM905 - a hundred quoted words read worse
)


# Dates of birth hide in dates; a date with a time behind it is an instant, unless it lies years back.
_DATE = r"(?<![\d-])(?:{years})-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_PERSONAL = (
    "(?:first|last|full|given|family|patient|middle)_?name|birth_?date|date_?of_?birth|dob|phone(?:_?number)?|mobile"
    "|e?mail|contact|notes?|address_line|street|ssn|mrn|diagnosis|reason_text"
)
_SECRET = "password|passwd|secret|token|authorization|api_key"  # noqa: S105 - a pattern
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,;)}\]]+)"""

# Order matters: the widest secrets go first, so that no later pattern cuts one of them in half. Every
# repetition that may start anywhere is bounded, so that hostile text costs linear time.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)*", REDACTED),
        (r"(?i)\b(bearer|basic)\s+[\w\-.~+/=]{6,}", rf"\1 {REDACTED}"),
        (rf"(?i)(\b\w{{0,40}}(?:{_SECRET})['\"]?\s{{0,4}}[=:]\s{{0,4}}){_VALUE}", rf"\1{REDACTED}"),
        (r"(\b\w{1,20}://[^\s:/@]{0,128}):[^\s@/]{1,256}@", rf"\1:{REDACTED}@"),
        # PostgreSQL quotes rows and parameters in what it says about an error.
        (
            r"(?i)(key \([^)]{1,256}\)=)\([\s\S]{0,1024}?\)(?= (?:already|is |conflicts)|\.)",
            rf"\1({REDACTED})",
        ),
        (r"(?i)(key \([^)]{1,256}\)=)\(.{0,1024}\)", rf"\1({REDACTED})"),
        (r"(?i)(failing row contains )\([\s\S]{0,4096}\)", rf"\1({REDACTED})"),
        (r"(?i)(invalid input (?:syntax|value) for [\w ]{1,60}: )\".*?\"", rf'\1"{REDACTED}"'),
        (r"(?i)(value too long for |out of range: )\".*?\"", rf'\1"{REDACTED}"'),
        (r"(?i)(parameters: ).*", rf"\1{REDACTED}"),
        (
            rf"(?i)(['\"]?\b[a-z]{{0,20}}_?(?:{_PERSONAL})\b['\"]?\s{{0,4}}[=:]\s{{0,4}}){_VALUE}",
            rf"\1{REDACTED}",
        ),
        (r"[\w.+%-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,5}", REDACTED),
        (_DATE.format(years=r"(?:19|20)\d\d") + r"(?![\d-]|[T ]\d\d:)", REDACTED),
        (_DATE.format(years=r"19\d\d|20[01]\d") + r"(?=[T ])", REDACTED),
        (
            r"(?<![\d/.])(?:0?[1-9]|[12]\d|3[01])[/.](?:0?[1-9]|[12]\d|3[01])[/.](?:19|20)\d\d(?![\d/.])",
            REDACTED,
        ),
        (r"datetime\.date\([^)]{0,40}\)", REDACTED),
        (r"\b\d{3}-\d{2}-\d{4}\b", REDACTED),
        (r"(?<![\w.:+-])\+\d[\d\s().-]{6,18}\d(?![\w-])", REDACTED),
        (r"(?<![\w.:/-])(?:\(\d{3}\)\s?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])", REDACTED),
    )
)

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}")

# Short texts that were searched once and hold nothing: method names, event names, codes.
_clean: set[str] = set()


def scrub_text(text: str, chars_max: int = _STRING_CHARS_MAX) -> str:
    """Return `text` without what looks like patient data or a secret, at most `chars_max` long."""
    if len(text) < _SHORTEST_SECRET_CHARS or text in _clean or _ID.fullmatch(text):
        return text
    # Cut to a size that is cheap to search, scrub, and only then to the final size: the second cut removes
    # the seam of the first, where half a secret might have survived.
    scrubbed = _shorten(text, _SEARCHED_CHARS_MAX)
    for pattern, replacement in _PATTERNS:
        scrubbed = pattern.sub(replacement, scrubbed)
    if scrubbed == text and len(text) <= _CLEAN_CHARS_MAX and len(_clean) < _CLEAN_MAX:
        _clean.add(text)
    return _shorten(scrubbed, chars_max)


def _shorten(text: str, chars_max: int) -> str:
    """Keep both ends: a traceback says what happened last and where it began."""
    if len(text) <= chars_max:
        return text
    head = chars_max // 4
    return f"{text[:head]} …{len(text) - chars_max} characters… {text[-(chars_max - head) :]}"


def scrub_value(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one return a type
    """Return `value` in JSON's types, scrubbed, bounded in depth and size."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return scrub_text(value)
    if depth >= _DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return scrub_mapping(value, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub_value(item, depth + 1) for item in list(value)[:_ITEMS_MAX]]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return scrub_text(str(value))


def scrub_mapping(values: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    """Return the allowed keys of `values`; of the others, only their names, under `dropped_keys`."""
    kept: dict[str, Any] = {}
    dropped: list[str] = []
    for key, value in values.items():
        name = str(key)
        if name in ALLOWED_KEYS:
            kept[name] = scrub_value(value, depth)
        elif name != "dropped_keys":
            dropped.append(scrub_text(name)[:64])
    if dropped:
        kept["dropped_keys"] = sorted(dropped)[:_ITEMS_MAX]
    return kept


def scrub_traceback(text: str) -> str:
    """Return a formatted traceback, scrubbed and bounded."""
    return scrub_text(text, _TRACE_CHARS_MAX)
