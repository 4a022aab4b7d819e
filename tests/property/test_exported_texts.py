"""Texts in a clinic's file: whatever is written is read again, to the letter."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctl.transfer.exporting import item_of
from ctl.transfer.reading import read_yaml

# U+0000 is refused when it is set; halves of a pair are no text.
_ODD = st.sampled_from(list("\t\n\r\x85\u2028\u2029\ufeff\xa0 #:-'\"\\|>&*!%@`~,[]{}\x0b\x0c\x1c"))
_TEXTS = st.text(_ODD | st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


@settings(deadline=None)
@given(_TEXTS.filter(bool))
@example("first\u2028second")
@example("first\u0085 second")
@example("\u2029\n\u2028 \n")
@example("a\tb")
@example("  leading and trailing  ")
@example("\n\n  first line blank")
@example("carriage\r\nreturn\r")
@example("null")
@example("long " * 300)
def test_a_text_is_read_as_it_was_written(text: str) -> None:
    """Line ends of every kind, tabs, blanks at either end and YAML's own signs stand in a file as what they are."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clinic.yaml"
        file.write_text(f"patients:\n{item_of({'id': 'x', 'notes': text, 'name': 'A'})}", encoding="utf-8")
        (entry,) = read_yaml(file)
    assert entry.tree == {"id": "x", "notes": text, "name": "A"}
