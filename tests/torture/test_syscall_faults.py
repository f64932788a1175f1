"""A sweep whose n-th call to the file system fails, or is its last; then one more, which must mend it."""

import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from scenarios import SCENARIOS, World, differences, verify_day
from syscalls import STRACE, counts, run

CALLS = ("fsync", "rename", "write", "unlink", "mkdir", "ftruncate")
FAULTS = {"signal=KILL": -signal.SIGKILL, "error=EIO": 6, "error=ENOSPC": 6}
SAMPLES = int(os.environ.get("TORTURE_KILLS") or 500) // 10
SEED = os.environ.get("TORTURE_SEED") or str(random.randrange(10**6))

pytestmark = [pytest.mark.skipif(STRACE is None, reason="strace is not installed"), pytest.mark.timeout(0)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), template, postgres_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def quiet(world: World) -> tuple[dict[str, int], dict[str, Any]]:
    """How often a quiet sweep makes each call, and what it leaves."""
    with world.machine(SCENARIOS["sweep"]) as machine:
        done = run(machine, "-e", f"trace={','.join(CALLS)}")
        assert done.returncode == 0, done.stderr
        return dict(counts(machine)), machine.left()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_one_rerun_leaves_what_a_quiet_sweep_leaves(
    world: World, quiet: tuple[dict[str, int], dict[str, Any]], call: str, fault: str
) -> None:
    made, golden = quiet
    numbers = range(1, made.get(call, 0) + 1)
    chosen = random.Random(f"{SEED}/{call}/{fault}").sample(numbers, min(len(numbers), SAMPLES))
    for number in chosen:
        with world.machine(SCENARIOS["sweep"]) as machine:
            hit = run(machine, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={number}")
            place = f"{call}:{fault}:when={number} ended with {hit.returncode}: {hit.stderr[-2000:]}"
            assert hit.returncode in (0, 4, 6, FAULTS[fault]), place
            assert "Traceback" not in hit.stderr, place
            again = run(machine)
            assert again.returncode == 0, f"{place}\nthen {again.stderr}"
            different = differences(golden, machine.left())
            assert not different, "\n".join([place, *different])
            assert verify_day(machine) == 0
