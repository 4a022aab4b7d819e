"""Which tests must run in one worker."""

import pytest

from tests.support.groups import group_of


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/e2e/test_up.py::test_a[booking]", "suite"),
        ("tests/e2e/test_clients.py::test_b", "suite"),
        ("tests/e2e/test_realtime_live_page.py::test_d", "live"),
        ("tests/e2e/test_realtime_resume.py::test_c", "tests/e2e/test_realtime_resume.py"),
        ("tests/integration/availability/test_searches.py::test_d", "availability"),
        (
            "tests/integration/booking/test_lifecycle.py::test_e[x::y]",
            "tests/integration/booking/test_lifecycle.py",
        ),
        ("tests/faults/booking/test_crashes.py::test_f", "tests/faults/booking/test_crashes.py"),
        ("tests/unit/ctl/test_home.py::test_g", "tests/unit/ctl/test_home.py::test_g"),
    ],
)
def test_what_shares_servers_stays_together(nodeid: str, group: str) -> None:
    """Tests of the suite, of availability and of one file of tests with servers are a group; others stand alone."""
    assert group_of(nodeid) == group
