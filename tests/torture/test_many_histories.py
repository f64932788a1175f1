"""Hundreds of histories that nobody chose of the machines that fetch and sweep, shorter when one fails.

TORTURE_SEED says which.
"""

import os
import random

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test
from scenarios import World
from test_fetch_machine import FetchMachine, LanesMachine
from test_sweep_machine import SweepMachine

SEED = int(os.environ.get("TORTURE_SEED") or random.randrange(10**6))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("machine", [FetchMachine, LanesMachine])
def test_whatever_happens_to_fetches_nothing_is_lost(machine: type[FetchMachine]) -> None:
    print(f"TORTURE_SEED={SEED}")
    run_state_machine_as_test(
        seed(SEED)(machine), settings=settings(max_examples=300, stateful_step_count=25, print_blob=True)
    )


@pytest.mark.timeout(0)
def test_whatever_happens_to_an_archived_day_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str
) -> None:
    print(f"TORTURE_SEED={SEED}")
    SweepMachine.world = World(tmp_path_factory.mktemp("world"), template, postgres_url)
    run_state_machine_as_test(
        seed(SEED)(SweepMachine), settings=settings(max_examples=200, stateful_step_count=20, print_blob=True)
    )
    SweepMachine.world.close()
