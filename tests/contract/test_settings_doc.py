"""docs/settings.md says what the processes read."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_settings_page_is_true() -> None:
    """The committed page is what `tools/generate_settings_doc.py` writes."""
    checked = subprocess.run(
        [sys.executable, "tools/generate_settings_doc.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
