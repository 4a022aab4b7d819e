"""Random operations of all kinds on PostgreSQL, step by step beside a model that knows only intervals and states.

The seed is printed; `MEDFORALL_MODEL_SEED` chooses another one, `MEDFORALL_MODEL_EXAMPLES`, `_STEPS` and `_SEEDS` how
many runs of how many steps, and how many seeds in a row. A failing run prints its steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import get_state_machine_test

from tests.property.booking.clockwork import Clockwork, clockwork
from tests.property.booking.model import BookingModel
from tests.support.servers import Servers

SEED = int(os.environ.get("MEDFORALL_MODEL_SEED", "1"))
SEEDS = int(os.environ.get("MEDFORALL_MODEL_SEEDS", "1"))
EXAMPLES = int(os.environ.get("MEDFORALL_MODEL_EXAMPLES", "100"))
STEPS = int(os.environ.get("MEDFORALL_MODEL_STEPS", "50"))


@pytest.fixture(scope="module")
def running(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clockwork]:
    with clockwork(servers, tmp_path_factory.mktemp("model")) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(SEEDS))
def test_the_service_does_what_the_model_does(
    running: Clockwork, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """T03: 5,000 random steps a seed: every answer is the model's, and so is every claim, state and version."""
    line = f"booking model: seed {SEED + number}, {EXAMPLES} runs of {STEPS} steps"
    print(line)  # noqa: T201 - shown with a failure
    with capsys.disabled():
        print(f"\n{line}")  # noqa: T201 - shown at once
    machine = type("BookingModelOnServers", (BookingModel,), {"running": running})
    run = get_state_machine_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            database=None,
        ),
    )
    seed(SEED + number)(run)()
