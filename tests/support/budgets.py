"""Time budgets of the parts of `make test`, and what each took."""

import os
from collections import defaultdict
from pathlib import Path

import pytest

# Seconds of all workers together: with two, the clock shows about half. The sum keeps `make test` below
# 15 minutes on two cores.
BUDGETS_S = {
    "check": 120,
    "unit": 120,
    "property": 240,
    "contract": 90,
    "integration": 600,
    "e2e": 480,
    "faults": 150,
}
_took_s: defaultdict[str, float] = defaultdict(float)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a test's set-up, call and tear-down to its part."""
    _took_s[_part(report.nodeid)] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each part that ran, before pytest's closing line."""
    check_s = os.environ.get("MEDFORALL_CHECK_TOOK_S")
    took_s = {"check": float(check_s), **_took_s} if check_s else dict(_took_s)
    terminalreporter.section("time budgets (seconds of all workers together)")
    for part in sorted(took_s, key=list(BUDGETS_S).index):
        over = "  OVER BUDGET" if took_s[part] > BUDGETS_S[part] else ""
        terminalreporter.line(f"{part:<12} took {took_s[part]:6.1f} s of {BUDGETS_S[part]:4d} s{over}")


def _part(nodeid: str) -> str:
    name = Path(nodeid.partition("::")[0]).parts[1]
    return name if name in BUDGETS_S else "unit"
