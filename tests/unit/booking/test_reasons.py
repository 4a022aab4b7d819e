"""What counts as a reason."""

from __future__ import annotations

import pytest

from booking_svc.reasons import is_blank, require_said
from scheduling.errors import FieldViolation, Invalid


@pytest.mark.parametrize(
    "blank",
    [
        "",
        " \t\r\n",
        "\u00a0\u2003\u3000",
        "\u2028\u2029",
        "\x00\x7f",
        "\u200b\ufeff\u00ad",
        "\u2800",
        "\u3164",
        "\u115f\u1160",
        "\uffa0",
        "\ufe0f",
        "\u034f",
        "\u20dd",
        "\U000e0100",
        " \u3164\u200b\u2800\ufe0f ",
    ],
    ids=ascii,
)
def test_what_nobody_can_read_is_no_reason(blank: str) -> None:
    """Blanks, control and format characters, marks on nothing and fillers say nothing, alone or together."""
    with pytest.raises(Invalid) as refused:
        require_said(blank, "reason")
    assert refused.value.violations == (FieldViolation("reason", "must say why"),)


@pytest.mark.parametrize(
    "said",
    [
        "x",
        "7",
        "\u6025",
        "\u0bb5\u0bbf",
        "\u2801",
        "\uae09",
        "\u1112\u1161",
        "\u2764\ufe0f",
        "\ue000",
        "\U0001fae9",
        "\U00011b00",
        " \u3164x",
    ],
    ids=ascii,
)
def test_a_reason_is_of_any_script(said: str) -> None:
    """One character that can be read is enough, be it private or of a script that this Python does not know yet."""
    assert not is_blank(said)
    require_said(said, "reason")
