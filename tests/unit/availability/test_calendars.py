"""The layout of buckets, and what they say they contain."""

from hypothesis import given
from hypothesis import strategies as st

from availability_svc.calendars import (
    BUCKET_MIN,
    GENERATION_BYTES,
    HEADER_BYTES,
    RECORD_BYTES,
    CalendarChange,
    Coverage,
    buckets_of,
    claims_in,
    decode_bucket,
    entry,
    records,
    version_bytes,
    whole_ms,
)
from scheduling.facts import Claim

_IDS = st.uuids(version=4).map(str)
_STARTS = st.integers(0, 100_000_000)
_CLAIMS = st.builds(
    lambda resource, unit, start, length, who, expires: Claim(
        resource, unit, start, start + length, who, expires
    ),
    _IDS,
    st.integers(1, 1_000),
    _STARTS,
    st.integers(1, 3_000),
    _IDS,
    st.none() | st.integers(1, 2**42).map(lambda ms: ms / 60_000),
)


@given(st.lists(_CLAIMS, max_size=20), st.integers(0, 2**47))
def test_claims_survive_the_way_through_records(claims: list[Claim], version: int) -> None:
    """Whatever a snapshot holds is read back: resource, unit, minutes, appointment and expiry to the millisecond."""
    raw = records(claims, version)
    assert len(raw) == RECORD_BYTES * len(claims)

    def key(claim: Claim) -> tuple[object, ...]:
        return (
            claim.resource_id,
            claim.unit,
            claim.start_min,
            claim.end_min,
            claim.appointment_id,
            whole_ms(claim.expires_min),
        )

    assert sorted(map(key, claims_in(raw))) == sorted(map(key, claims))


@given(_STARTS, st.integers(1, 60_000))
def test_buckets_cover_a_stretch_and_nothing_beside_it(start_min: int, length: int) -> None:
    """Every minute of a stretch lies in one of its buckets, and each of them touches the stretch."""
    end_min = start_min + length
    found = list(buckets_of(start_min, end_min))
    assert found[0] == start_min // BUCKET_MIN
    assert found[-1] == (end_min - 1) // BUCKET_MIN
    assert found == list(range(found[0], found[-1] + 1))


def test_an_appointment_that_claims_nothing_leaves_a_tombstone() -> None:
    """An entry without claims is one record that is no claim, but has the appointment and its version."""
    who = "018f0000-0000-7000-8000-000000000001"
    raw = entry((), who, 7, 0)
    assert len(raw) == RECORD_BYTES
    assert claims_in(raw) == []
    assert raw[32:38] == version_bytes(7)


def test_an_entry_holds_only_what_lies_in_its_bucket() -> None:
    """A claim across a seam is in both buckets, one elsewhere in neither."""
    who = "018f0000-0000-7000-8000-000000000001"
    claims = [Claim(who, 1, BUCKET_MIN - 10, BUCKET_MIN + 10, who), Claim(who, 1, 0, 10, who)]
    assert len(claims_in(entry(claims, who, 1, 0))) == 2
    assert len(claims_in(entry(claims, who, 1, 1))) == 1
    assert claims_in(entry(claims, who, 1, 2)) == []


def test_a_bucket_contains_its_snapshot_and_what_came_after() -> None:
    """Coverage is the later of floor and snapshot, plus the versions beyond a hole."""
    raw = bytes(GENERATION_BYTES) + version_bytes(5)
    assert len(raw) == HEADER_BYTES
    coverage = decode_bucket(raw, Coverage(3, frozenset({8}))).coverage
    assert [version for version in range(10) if coverage.has(version)] == [0, 1, 2, 3, 4, 5, 8]


def test_a_change_touches_the_buckets_of_before_and_after() -> None:
    """What was claimed before is rewritten too."""
    touched = ((0, 10), (3 * BUCKET_MIN, 3 * BUCKET_MIN + 5))
    change = CalendarChange("c", "r", 1, "a", (), touched)
    assert change.buckets == (0, 3)
