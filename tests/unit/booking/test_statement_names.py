"""Prepared statements are told apart by their names alone."""

from __future__ import annotations

import gc
from collections import Counter

import booking_svc.wiring
from database.pipeline import Statement


def test_no_two_statements_share_a_name() -> None:
    """A name names one text: a second one would run the first one's SQL."""
    assert booking_svc.wiring
    # By its type alone: isinstance() asks the object too, and what stands for one that is gone cannot answer.
    statements = {found for found in gc.get_objects() if type(found) is Statement}
    assert len(statements) > 50
    texts = {(found.name, found.sql) for found in statements}
    assert [name for name, count in Counter(name for name, _ in texts).items() if count > 1] == []
