"""Which tests must run in one worker, one after another."""

from pathlib import PurePosixPath
from typing import Final

# Files of tests/e2e that start what they need by themselves; the others share one running suite, hence one worker.
_OWN_SUITE: Final = ("test_given_servers", "test_readme", "test_realtime_", "test_tls_suite")


def group_of(nodeid: str) -> str:
    """Return the group of a test.

    Files of tests with servers are groups, for their tests share what they start. So are all tests of the running
    suite, those of `/live`, and those that follow the session's NATS server under availability's one durable name:
    two processes of two workers would take each other's events. Any other test stands by itself.
    """
    path = PurePosixPath(nodeid.partition("::")[0])
    match path.parts[1:]:
        case ("e2e", name) if not name.startswith(_OWN_SUITE):
            return "suite"
        case ("e2e", name) if name.startswith("test_realtime_live_"):
            return "live"
        case ("integration", "availability", _):
            return "availability"
        case ("e2e" | "faults" | "integration", *_):
            return str(path)
        case _:
            return nodeid
