"""The fixtures of the booking tests, for properties that need real servers."""

from tests.integration.booking.conftest import make_client, process_count, shared_suite, suite

__all__ = ["make_client", "process_count", "shared_suite", "suite"]
