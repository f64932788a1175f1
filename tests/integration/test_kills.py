"""Killed at any instant and run once more, every command leaves what one quiet run leaves."""

from collections.abc import Iterator

import pytest
import syscalls
from scenarios import SCENARIOS, Trial, World

KILLS = {
    "sweep": 30,
    "sweep-to-drive": 25,
    "sweep-grown": 25,
    "load": 30,
    "restore": 30,
    "prune": 30,
    "import": 30,
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


@pytest.mark.skipif(syscalls.STRACE is None, reason="strace is not installed")
def test_what_is_renamed_was_flushed_before_and_its_folder_is_flushed_afterwards(world: World) -> None:
    """A kill never loses what the kernel has, so only the order of the calls shows what a power cut would."""
    with world.machine(SCENARIOS["sweep"]) as machine:
        done = syscalls.run(machine, "-e", "trace=fsync,rename,renameat,renameat2")
        assert (done.returncode, done.stderr) == (0, "")
        made = syscalls.calls(machine)
        renamed = {call.paths[1] for call in made if call.name.startswith("rename")}
        assert syscalls.unsafe_renames(made, machine.folder) == []
        assert f"{machine.folder}/data/chat/2025-09-13/_fetch.json" in renamed
        assert f"{machine.folder}/archives/chat/2025-09-13.zip" in renamed
        assert f"{machine.folder}/target/chat/2025-09-13.zip" in renamed
