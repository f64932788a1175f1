"""Whatever happens to an archived day, in whatever order, no run that was acknowledged is ever lost."""

import itertools
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from killing import Moment, killed
from scenarios import SCENARIOS, World, a_run, prune_all, restore_day, run_id, sweep, verify_day

from lse.models import ProjectDay

NOWHERE = "postgresql://nobody@127.0.0.1:9/lse"
TO_SKIP = ("fetch", "upload", "load", "verify")
numbers = st.integers(0, 5)


class SweepMachine(RuleBasedStateMachine):
    """One LangSmith with one project day, and one machine that archives it with a directory as its target."""

    world: ClassVar[World]
    histories = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.day = ProjectDay(f"history {next(self.histories)}", date(2025, 9, 13))
        self.stack = ExitStack()
        self.machine = self.stack.enter_context(self.world.machine(SCENARIOS["sweep"]))
        self.at_server: set[str] = set()
        self.acknowledged: set[str] = set()
        """The runs that finished fetches have archived"""
        self.sound = False
        """Whether the last thing that was done proved the day whole, in all of its copies"""
        self.versions = itertools.count()

    def teardown(self) -> None:
        self.stack.close()

    # --- what happens at the source

    @initialize()
    def there_is_a_day(self) -> None:
        for number in range(2):
            self.appears(number)

    @rule(number=numbers)
    def appears(self, number: int) -> None:
        """A run, or another version of it."""
        version = {"outputs": {"version": next(self.versions)}}
        self.machine.langsmith.load([a_run(number, **version)], self.day.project)
        self.at_server.add(run_id(number))
        self.sound = False

    @precondition(lambda self: len(self.at_server) > 1)
    @rule(data=st.data())
    def vanishes(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.at_server)), label="run")
        state = self.machine.langsmith.state
        with state.lock:
            state.runs.drop([state.runs.get(run)])
        self.at_server.remove(run)

    # --- commands

    @rule()
    def is_swept(self) -> None:
        """A sweep without anything in its way ends well."""
        assert self._sweep() == 0
        self.sound = True

    @rule(skip=st.sets(st.sampled_from(TO_SKIP)))
    def is_swept_in_part(self, skip: set[str]) -> None:
        without = skip if self.acknowledged else skip - {"fetch"}  # nothing is archived, which is refused
        self._sweep(tuple(without))
        self.sound = False

    @rule(line=st.integers(1, 6_000))
    def is_killed_in_a_sweep(self, line: int) -> None:
        killed(lambda: self._sweep(), Moment("line", line))
        self.sound = False

    @rule()
    def is_swept_without_a_database(self) -> None:
        self.machine.flags["database_url"] = NOWHERE
        assert self._sweep() == 6
        del self.machine.flags["database_url"]
        self.sound = False

    @precondition(lambda self: self.sound)
    @rule()
    def is_pruned(self) -> None:
        assert prune_all(self.machine) == 0

    @precondition(lambda self: self.sound)
    @rule()
    def is_restored(self) -> None:
        assert restore_day(self.machine, self.day) == 0

    # --- damage, found by verify and mended by what it says

    @precondition(lambda self: self.sound and self._files())
    @rule(data=st.data())
    def loses_a_byte_of_a_file(self, data: st.DataObject) -> None:
        self._flip(data.draw(st.sampled_from(self._files()), label="file"), data)
        assert verify_day(self.machine, self.day) == 3
        self._mend_by_restore()

    @precondition(lambda self: self.sound and self._files())
    @rule()
    def loses_its_files(self) -> None:
        shutil.rmtree(self._folder())
        assert verify_day(self.machine, self.day) != 0
        self._mend_by_restore()

    @precondition(lambda self: self.sound and self._zip().exists() and self._files())
    @rule(data=st.data())
    def loses_a_byte_of_the_zip(self, data: st.DataObject) -> None:
        self._flip(self._zip(), data)
        assert verify_day(self.machine, self.day) == 3
        assert self._sweep(("fetch",)) == 0

    @precondition(lambda self: self.sound and self._files())
    @rule()
    def loses_a_row(self) -> None:
        with psycopg.connect(self.machine.database_url) as connection:
            connection.execute("delete from runs where run_id = (select min(run_id::text)::uuid from runs)")
        assert verify_day(self.machine, self.day) == 3
        assert self._sweep(("fetch",)) == 0

    # --- what always holds

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        assert self.acknowledged <= self._kept()

    @precondition(lambda self: self.sound)
    @invariant()
    def a_sound_day_is_without_differences_and_leavings(self) -> None:
        assert verify_day(self.machine, self.day) == 0
        assert not list(self.machine.folder.rglob("*.tmp"))

    # --- means

    def _mend_by_restore(self) -> None:
        """Bring the files back; the notes of the fetch went with what was replaced, so it is proved again."""
        assert restore_day(self.machine, self.day) == 0
        assert verify_day(self.machine, self.day) == 0
        assert self._sweep() == 0

    def _sweep(self, skip: tuple[str, ...] = ()) -> int:
        code = sweep(self.machine, self.day, skip)
        if "fetch" not in skip and code in (0, 6):
            self.acknowledged |= self._archived()
        return code

    def _folder(self) -> Path:
        return next(path for path in (self.machine.folder / "data").glob("history-*/2025-09-13"))

    def _zip(self) -> Path:
        return next((self.machine.folder / "archives").glob("history-*/2025-09-13.zip"), Path("none"))

    def _files(self) -> list[Path]:
        folders = (self.machine.folder / "data").glob("history-*/2025-09-13")
        return sorted(path for folder in folders for path in folder.glob("[0-9]*.json"))

    def _archived(self) -> set[str]:
        return {run for path in self._files() for run in _runs(path.read_bytes())}

    def _kept(self) -> set[str]:
        """Every run that can be read anywhere on this machine or in the target, found without `lse`."""
        found: set[str] = set()
        for path in self.machine.folder.rglob("*"):
            if path.suffix == ".json" and path.name[0].isdigit():
                found |= _runs(path.read_bytes())
            elif path.is_file() and zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    for name in archive.namelist():
                        found |= _runs(archive.read(name)) if name[0].isdigit() else set()
        return found

    def _flip(self, path: Path, data: st.DataObject) -> None:
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, 9_999), label="byte, in ten-thousandths of the length")
        content[place * len(content) // 10_000] ^= 1  # a zip's length is not the same in every run
        path.write_bytes(content)


def _runs(document: bytes) -> set[str]:
    """The ids in a trace file; none where it cannot be read."""
    try:
        return {run["id"] for run in json.loads(document)["runs"]}
    except (ValueError, KeyError, TypeError):
        return set()


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template: str) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), template, postgres_url)
    SweepMachine.world = made
    yield made
    made.close()


TestSweeps = SweepMachine.TestCase
# A failing history is not made shorter: that would take hundreds of sweeps, and the time of the test.
# `make torture` goes through hundreds that nobody chose.
TestSweeps.settings = settings(
    phases=[Phase.explicit, Phase.generate],
    max_examples=5,
    stateful_step_count=20,
    derandomize=True,
    print_blob=True,
)
