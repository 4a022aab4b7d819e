"""Positions and channels: what they are called, what they cover, who may join."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scheduling.channels import Viewer, check_join, parse_channel, sees_whole
from scheduling.errors import DomainError, Invalid, Reason
from scheduling.positions import Position, Source, parse_position

_CLINIC = "6f9c3c1e-5d60-4f0b-9a64-0b3e0f6b2a10"
_OTHER = "0e0c2d0e-8f6f-4a4e-b1a7-5f6f1f3f9b11"

positions = st.builds(
    Position,
    st.integers(0, 2**50),
    st.integers(0, 2**50),
    st.integers(0, 9),
    st.sampled_from(["", "k3f9", "1z141z3"]),
)


@given(positions)
def test_a_position_reads_as_it_was_written(position: Position) -> None:
    """Parsing is the inverse of writing."""
    assert parse_position(str(position)) == position


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1-2", "1-2.", "1-2~", "1-2~K", "١-٢", "1-2 ", "9" * 40 + "-1"]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    """Only what a position wrote is read."""
    with pytest.raises(Invalid):
        parse_position(text)


@given(positions, positions)
def test_of_two_epochs_the_join_is_the_later_position(left: Position, right: Position) -> None:
    """Sequences of streams that are no more say nothing of how far a reader has come in these."""
    if left.epoch and right.epoch and left.epoch != right.epoch:
        assert left.joined(right) == right


@given(positions, positions)
def test_joined_reaches_both_and_no_further(left: Position, right: Position) -> None:
    """The join of two positions of one epoch is the least that has come as far as both."""
    assume(not left.epoch or not right.epoch or left.epoch == right.epoch)
    joined = left.joined(right)
    assert joined.reaches(left)
    assert joined.reaches(right)
    assert joined.appointments in {left.appointments, right.appointments}
    assert (joined.directory, joined.part) in {(left.directory, left.part), (right.directory, right.part)}


def test_parts_of_a_directory_event_are_covered_one_after_the_other() -> None:
    """Between two messages of one event the first is read and the second is not."""
    before = Position(10, 17)
    after = before.after(Source.DIRECTORY, 18)
    between = after.within(18, 1)
    assert between.covers(Source.DIRECTORY, between)
    assert not between.covers(Source.DIRECTORY, after)
    assert not before.covers(Source.DIRECTORY, between)
    assert between.after(Source.APPOINTMENTS, 11) == Position(11, 17, 1)


@pytest.mark.parametrize(
    "name",
    [
        f"clinic:{_CLINIC}",
        f"provider:{_CLINIC.upper()}",
        f"location:{_CLINIC}:2026-02-28",
        f"patient:{_CLINIC}",
    ],
)
def test_a_channel_reads_as_it_is_written(name: str) -> None:
    """Names are read in either case and written in lower case."""
    assert str(parse_channel(name)) == name.lower()


@pytest.mark.parametrize(
    "name",
    ["", "clinic", "clinic:", "room:" + _CLINIC, f"clinic:{_CLINIC}:2026-02-20", f"location:{_CLINIC}",
     f"location:{_CLINIC}:2026-02-30", f"clinic:{_CLINIC}\n", "clinic:*", f"location:{_CLINIC}:2026-2-2"],
)  # fmt: skip
def test_what_is_no_channel_is_refused(name: str) -> None:
    """Wildcards, missing or impossible days, and other kinds are refused."""
    with pytest.raises(Invalid):
        parse_channel(name)


@pytest.mark.parametrize(
    ("role", "channel", "reason"),
    [
        ("admin", f"clinic:{_CLINIC}", None),
        ("front_desk", f"location:{_OTHER}:2026-02-20", None),
        ("provider", f"provider:{_OTHER}", None),
        ("service", f"clinic:{_CLINIC}", None),
        ("admin", f"clinic:{_OTHER}", Reason.NOT_FOUND),
        ("admin", f"patient:{_OTHER}", Reason.PERMISSION_DENIED),
        ("patient", f"patient:{_CLINIC}", None),
        ("patient", f"patient:{_OTHER}", Reason.NOT_FOUND),
        ("patient", f"clinic:{_CLINIC}", Reason.PERMISSION_DENIED),
        ("patient", f"provider:{_OTHER}", Reason.PERMISSION_DENIED),
        ("platform", f"clinic:{_CLINIC}", Reason.PERMISSION_DENIED),
    ],
)
def test_who_may_join(role: str, channel: str, reason: Reason | None) -> None:
    """Staff join what is of their clinic, a patient its own channel, the platform nothing."""
    viewer = Viewer(role=role, clinic_id=_CLINIC, patient_id=_CLINIC if role == "patient" else None)
    if reason is None:
        check_join(viewer, parse_channel(channel))
        return
    with pytest.raises(DomainError) as refused:
        check_join(viewer, parse_channel(channel))
    assert refused.value.reason is reason


def test_a_provider_sees_its_own_visits_whole() -> None:
    """Of a colleague it sees free or busy only; everybody else on the channel sees all."""
    provider = Viewer(role="provider", clinic_id=_CLINIC, provider_id=_CLINIC)
    assert sees_whole(provider, {_CLINIC})
    assert not sees_whole(provider, {_OTHER})
    assert sees_whole(Viewer(role="front_desk", clinic_id=_CLINIC), {_OTHER})


@pytest.mark.parametrize(
    ("role", "reads_phi", "named"),
    [
        ("front_desk", True, True),
        ("service", True, True),
        ("service", False, False),
        ("provider", True, False),
    ],
)
def test_who_may_not_know_of_patients_is_not_told_which_one(role: str, reads_phi: bool, named: bool) -> None:
    """An event about no calendar names a patient: its id is for the front desk, and for services with read:phi."""
    assert sees_whole(Viewer(role=role, clinic_id=_CLINIC, reads_phi=reads_phi), ()) is named
