"""Page tokens are opaque, and bound to the list that they belong to."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booking_svc.usecases.page_tokens import Listing
from chassis.encryption import ClinicCipher, DataKey
from scheduling.errors import Invalid

ONE, OTHER = (ClinicCipher([DataKey(f"clinic-{n}", "1", bytes([n]) * 32, bytes([n]) * 32)]) for n in (1, 2))
LISTING = Listing("provider", [[("location_id", "x")], False])


@given(st.lists(st.one_of(st.text(max_size=255), st.integers(-(2**31), 2**31)), max_size=2))
def test_a_token_gives_back_its_position(position: list[str | int]) -> None:
    """Whatever a page ended with is where the next one begins, in a token of letters that an address takes."""
    token = LISTING.next_token(ONE, position)
    assert LISTING.position(ONE, token) == tuple(position)
    assert len(token) <= 2048
    assert token.isascii()
    assert not set(token) & set("+/=&? ")


def test_no_token_is_the_first_page() -> None:
    """An empty token has no position."""
    assert LISTING.position(ONE, "") is None


@pytest.mark.parametrize(
    ("listing", "cipher"),
    [
        (replace(LISTING, name="room"), ONE),
        (replace(LISTING, filters=[[("location_id", "y")], False]), ONE),
        (replace(LISTING, filters=[[("location_id", "x")], True]), ONE),
        (LISTING, OTHER),
    ],
    ids=["another list", "another filter", "another flag", "another clinic"],
)
def test_a_token_belongs_to_its_list(listing: Listing, cipher: ClinicCipher) -> None:
    """Another list, other filters and another clinic refuse the token."""
    token = LISTING.next_token(ONE, ["Ada", "id"])
    with pytest.raises(Invalid) as refused:
        listing.position(cipher, token)
    assert [violation.field for violation in refused.value.violations] == ["page_token"]


def test_a_token_cannot_be_read_or_changed() -> None:
    """No byte of it can be changed, it does not show what it says, and the same position looks different each time."""
    token = LISTING.next_token(ONE, ["Ada Abiodun", "id"])
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"Ada" not in raw
    assert LISTING.next_token(ONE, ["Ada Abiodun", "id"]) != token
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(Invalid):
            LISTING.position(ONE, base64.urlsafe_b64encode(changed).rstrip(b"=").decode())


@pytest.mark.parametrize("token", ["x", "é", "!!!!", "AAAA", "a" * 2048, "====", "AQ"])
def test_a_made_up_token_is_refused(token: str) -> None:
    """Text of nobody's is refused as an argument, never a failure."""
    with pytest.raises(Invalid):
        LISTING.position(ONE, token)
