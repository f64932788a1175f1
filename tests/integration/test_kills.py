"""Killed at any instant and run once more, every command leaves what one quiet run leaves."""

from collections.abc import Iterator

import pytest
from scenarios import SCENARIOS, Trial, World

KILLS = {
    "sweep": 40,
    "sweep-to-drive": 40,
    "sweep-grown": 40,
    "load": 20,
    "restore": 20,
    "prune": 20,
    "import": 20,
}
"""How often each command is killed; `make torture` does it thousands of times."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), template, postgres_url)
    yield made
    made.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_a_kill_one_rerun_leaves_what_a_quiet_run_leaves(world: World, name: str) -> None:
    trial = Trial(world, SCENARIOS[name])
    for number in range(KILLS[name]):
        trial.kill(trial.life.moment(f"1/{name}/{number}"))
