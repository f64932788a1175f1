"""A sweep whose connection fails at each message in turn, until one comes through untouched."""

import os
from collections.abc import Iterator

import pytest
from database_faults import Sweeps
from fault_proxy import Fault
from scenarios import World

STEP = max(1, 500 // int(os.environ.get("TORTURE_KILLS") or 500))
"""Every message fails in turn, or every so many when fewer kills than usual are asked for."""


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str) -> Iterator[Sweeps]:
    world = World(tmp_path_factory.mktemp("world"), template, postgres_url)
    yield Sweeps(world)
    world.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("how", ["before", "after", "stall"])
def test_a_connection_lost_at_each_message_is_made_good_by_the_next_sweep(sweeps: Sweeps, how: str) -> None:
    for number in range(1, sweeps.messages + 1, STEP):
        sweeps.with_fault(Fault(how, at=number))
