"""`make bench`: every part in a process of its own, each figure beside its floor in the same run.

python -m bench                      # all parts, about a quarter of an hour on two cores
python -m bench booking gateway      # these alone
python -m bench --full               # availability on the data of the targets: 500 clinics, 30 days (long)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PARTS = ("engine", "booking", "availability", "gateway", "realtime")
PART_S_MAX = 3 * 3_600


@contextmanager
def suite_without_limits() -> Iterator[Path]:
    """A running suite with the demo clinics and no rate limits; its home."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = os.environ | {"MEDFORALL_RATE_LIMIT": "off"}
        command = [sys.executable, "-m", "ctl"]
        subprocess.run(
            [*command, "up", "--detach", "--home", str(home)], check=True, env=environment, stdout=sys.stderr
        )
        try:
            yield home
        finally:
            subprocess.run([*command, "down", "--home", str(home)], check=False, stdout=sys.stderr)


def run(part: str, arguments: Sequence[str] = ()) -> int:
    """Run one part and show what it says; its exit code."""
    print(f"\n== {part} ==", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{part}", *arguments], check=False, timeout=PART_S_MAX
    )
    print(f"({part} took {time.monotonic() - began:.0f} s)", flush=True)
    return done.returncode


def run_part(part: str, *, full: bool) -> int:
    """Run one part with what it needs."""
    if part == "gateway":
        with suite_without_limits() as home:
            return run(part, ["--home", str(home)])
    if part == "availability" and full:
        return run(part, ["--clinics", "500", "--days", "30"])
    return run(part)


def main() -> int:
    """Run the parts that were named, or all; 1 when one of them failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; none means all")
    parser.add_argument("--full", action="store_true", help="availability with 500 clinics and 30 days")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    failed = [part for part in chosen.parts or PARTS if run_part(part, full=chosen.full)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
