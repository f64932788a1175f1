"""Thousands of kills at moments that nobody chose, one or two of them before the command may finish.

TORTURE_KILLS says how many there are of each command, TORTURE_SEED which; a failure names the moments, and
TORTURE_REPLAY repeats exactly those.
"""

import os
import random
from collections.abc import Iterator

import pytest
from killing import Moment
from scenarios import SCENARIOS, Trial, World

KILLS = int(os.environ.get("TORTURE_KILLS") or 500)
SEED = os.environ.get("TORTURE_SEED") or str(random.randrange(10**6))
REPLAY = os.environ.get("TORTURE_REPLAY", "")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), template, postgres_url)
    yield made
    made.close()


@pytest.mark.skipif(bool(REPLAY), reason="one history is repeated")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", SCENARIOS)
def test_after_any_kills_one_rerun_leaves_what_a_quiet_run_leaves(world: World, name: str) -> None:
    print(f"TORTURE_SEED={SEED} TORTURE_KILLS={KILLS}")
    trial = Trial(world, SCENARIOS[name])
    for number in range(KILLS):
        seed = f"{SEED}/{name}/{number}"
        moments = [trial.life.moment(f"{seed}/{kill}") for kill in range(1 + number % 2)]
        trial.kill(*moments)


@pytest.mark.skipif(REPLAY.split(" ")[0] not in SCENARIOS, reason="TORTURE_REPLAY names no history of these")
def test_a_history_is_repeated(world: World) -> None:
    name, *moments = REPLAY.split()
    Trial(world, SCENARIOS[name]).kill(*map(Moment.parse, moments))
