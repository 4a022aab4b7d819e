"""The consistency token: what goes in comes out, and nothing else is accepted."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling import consistency
from scheduling.errors import Invalid

VERSIONS = st.dictionaries(st.uuids().map(str), st.integers(0, 2**63 - 1), max_size=consistency.MAX_RESOURCES)


@given(VERSIONS)
def test_a_token_gives_back_the_versions_it_was_made_of(versions: dict[str, int]) -> None:
    """Decoding an encoded map gives the same map, within the contract's 2,048 characters."""
    token = consistency.encode(versions)
    assert consistency.decode(token) == versions
    assert len(token) <= 2_048


@given(st.text(max_size=80))
def test_anything_else_is_refused_and_never_crashes(text: str) -> None:
    """A string that no encoder made is either refused as invalid or read as a map; nothing else is raised."""
    try:
        versions = consistency.decode(text)
    except Invalid:
        return
    assert all(version >= 0 for version in versions.values())


@pytest.mark.parametrize("token", ["!", "A", "AA", "Ag", "AQ" * 2000, "AQAA", "é"])
def test_malformed_tokens_are_refused(token: str) -> None:
    """Wrong alphabet, wrong format, cut off and oversize tokens are refused."""
    with pytest.raises(Invalid):
        consistency.decode(token)


def test_too_many_resources_ask_for_the_primary() -> None:
    """A change of more resources than a token holds asks for a version that no projection reaches."""
    versions = {str(UUID(int=n + 1)): 1 for n in range(consistency.MAX_RESOURCES + 1)}
    assert consistency.decode(consistency.encode(versions)) == consistency.UNREACHABLE


def test_merged_tokens_ask_for_the_newer_of_both() -> None:
    """Merging keeps the greater version of each resource."""
    assert consistency.merge({"a": 3, "b": 1}, {"a": 2, "c": 5}) == {"a": 3, "b": 1, "c": 5}
