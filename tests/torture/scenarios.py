"""What is killed: commands, each with the state of the machine on which it begins."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from earlier_tool import one_day, write_folder
from killing import Job, Life, Moment, killed, lines_of, seconds_of, temporary_files_in
from machines import DAY, GROWING, KEY, NOW, Machine
from psycopg import conninfo, sql

from lse.archive.earlier_index import EarlierIndex
from lse.models import ProjectDay
from lse.pipeline import full_sweep, load, prune, restore, verify
from lse.pipeline.importing import begin_import, import_day, open_earlier
from lse.pipeline.sweeping import exit_code
from lse.sandbox.drive import DriveServer
from lse.sandbox.langsmith import LangSmithServer
from lse.sandbox.sample import write_sample

_DIRECTORY = "directory:{folder}/target"


def sweep(machine: Machine, day: ProjectDay = DAY, skip: tuple[str, ...] = ()) -> int:
    """`lse archive full-sweep`; its exit code."""
    with machine.resources() as resources:
        return exit_code(full_sweep(resources, day, skip=skip))


def sweep_grown(machine: Machine) -> int:
    """A sweep of a day to which runs and feedback were added since the last one, and a run changed."""
    return sweep(machine, GROWING)


def load_day(machine: Machine) -> int:
    """`lse archive to-db`"""
    with machine.resources() as resources, resources.lock(DAY):
        return load(resources, DAY).exit_code


def restore_day(machine: Machine, day: ProjectDay = DAY) -> int:
    """`lse archive restore --force`"""
    with machine.resources() as resources, resources.lock(day):
        return restore(resources, day, force=True).exit_code


def prune_all(machine: Machine) -> int:
    """`lse archive prune --what files --what zip --yes`"""
    with machine.resources() as resources:
        pruned = prune(resources, None, keep_days=0, what=["files", "zip"], max_share=100, execute=True)
    return max((each.exit_code for each in pruned), default=0)


def import_all(machine: Machine) -> int:
    """`lse import`"""
    with (
        machine.resources() as resources,
        EarlierIndex(open_earlier(str(machine.folder / "earlier")), lambda done, total: None) as index,
    ):
        batch = begin_import(resources, index)
        codes = [import_day(resources, batch, index, found.day).exit_code for found in index.days]
        batch.finish()
    return max(codes)


def verify_day(machine: Machine, day: ProjectDay = DAY) -> int:
    """`lse archive verify --deep`"""
    with machine.resources() as resources:
        return verify(resources, day, deep=True).exit_code


@dataclass(frozen=True)
class Scenario:
    """A command, and what there is before it."""

    name: str
    command: Callable[[Machine], int]
    begins: str
    """`empty`, or one of `_BEGINNINGS`"""
    target: str = _DIRECTORY
    day: ProjectDay | None = DAY
    """The day that is verified at the end"""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("sweep", sweep, "empty"),
        Scenario("sweep-to-drive", sweep, "empty", target="drive"),
        Scenario("sweep-grown", sweep_grown, "grown", day=GROWING),
        Scenario("load", load_day, "fetched"),
        Scenario("restore", restore_day, "without files"),
        Scenario("prune", prune_all, "swept"),
        Scenario("import", import_all, "with an earlier export", day=None),
    )
}


class World:
    """A sandbox, and machines in every state that a scenario begins with."""

    def __init__(self, folder: Path, empty_database: str, server: str) -> None:
        """`empty_database` names a migrated database of the server at `server`."""
        self._folder = folder
        self._server = server
        self._stack = ExitStack()
        # Its clock stands still, since the addresses of attachments, which runs quote, hold the time.
        self.langsmith = self._stack.enter_context(LangSmithServer(api_key=KEY, now=lambda: NOW))
        self.drive = self._stack.enter_context(DriveServer())
        write_sample(self.langsmith.url, KEY, end=DAY.day, days=1, traces_per_day=2, projects=[DAY.project])
        self._states: dict[str, tuple[Machine | None, str]] = {"empty": (None, empty_database)}

    def close(self) -> None:
        """Stop the sandbox."""
        for _, database in list(self._states.values())[1:]:
            self._admin("drop database {} with (force)", database)
        self._stack.close()

    @contextmanager
    def machine(self, scenario: Scenario) -> Iterator[Machine]:
        """A machine of its own in the state with which `scenario` begins."""
        if scenario.begins not in self._states:
            self._states[scenario.begins] = self._prepared(_BEGINNINGS[scenario.begins])
        prepared, template = self._states[scenario.begins]
        with self._machine(scenario.target, template) as machine:
            if prepared is not None:
                prepared.copy_to(machine.folder)
            yield machine

    @contextmanager
    def _machine(self, target: str, template: str) -> Iterator[Machine]:
        name = f"m{uuid4().hex[:10]}"
        self._admin("create database {} template {}", name, template)
        folder = self._folder / name
        folder.mkdir()
        self.drive.write_credentials(folder / "key.json")
        machine = Machine(
            self.langsmith, self.drive, folder, conninfo.make_conninfo(self._server, dbname=name), target
        )
        try:
            yield machine
        finally:
            self._admin("drop database {} with (force)", name)
            shutil.rmtree(folder)

    def _prepared(self, do: Callable[[Machine], int]) -> tuple[Machine, str]:
        """What a machine is after `do`: a copy of its folders, and the name of a copy of its database."""
        name, (_, empty) = f"s{uuid4().hex[:10]}", self._states["empty"]
        folder = self._folder / name
        folder.mkdir()
        with self._machine(_DIRECTORY, empty) as machine:
            assert do(machine) == 0
            machine.copy_to(folder)
            self._admin("create database {} template {}", name, machine.folder.name)
        return Machine(self.langsmith, self.drive, folder, "", _DIRECTORY), name

    def _admin(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]


def _fetched(machine: Machine) -> int:
    return sweep(machine, skip=("upload", "load", "verify"))


def _swept_without_files(machine: Machine) -> int:
    code = sweep(machine)
    shutil.rmtree(machine.folder / "data")
    return code


def _with_an_earlier_export(machine: Machine) -> int:
    write_folder(machine.folder / "earlier", one_day())
    return 0


def _swept_before_it_grew(machine: Machine) -> int:
    machine.langsmith.load([a_run(number) for number in range(3)], GROWING.project)
    code = sweep_grown(machine)
    machine.langsmith.load([a_run(1, outputs={"answer": "another"}), a_run(3)], GROWING.project)
    return code


_BEGINNINGS: dict[str, Callable[[Machine], int]] = {
    "fetched": _fetched,
    "swept": sweep,
    "without files": _swept_without_files,
    "grown": _swept_before_it_grew,
    "with an earlier export": _with_an_earlier_export,
}


def a_run(number: int, **more: Any) -> bytes:
    """A trace of one run, which starts at minute `number` of the day."""
    at = GROWING.start + timedelta(minutes=number)
    run = run_id(number)
    values = {
        "id": run,
        "trace_id": run,
        "name": "root",
        "run_type": "chain",
        "status": "success",
        "start_time": at.isoformat(),
        "end_time": (at + timedelta(seconds=1)).isoformat(),
        "dotted_order": f"{at:%Y%m%dT%H%M%S%fZ}{run}",
    }
    return json.dumps(values | more).encode()


def run_id(number: int) -> str:
    """The id of `a_run`."""
    return f"20250913-0000-4000-8000-{number:012x}"


class Trial:
    """One scenario, killed at many moments; what is left is compared with what a quiet run leaves."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._scenario = scenario
        with world.machine(scenario) as machine:
            lines = lines_of(self._job(machine))
        with world.machine(scenario) as machine:
            self.life = Life(lines, seconds_of(self._job(machine)))
            self._golden = machine.left()

    def kill(self, *moments: Moment) -> None:
        """Kill the command at each of `moments` in turn, run it once more, and compare."""
        with self._world.machine(self._scenario) as machine:
            try:
                for moment in moments:
                    killed(self._job(machine), moment)
                self._job(machine)()
                self._compare(machine)
            except AssertionError as error:
                again = " ".join([self._scenario.name, *map(str, moments)])
                error.add_note(f"Again: make torture REPLAY='{again}'")
                raise

    def _compare(self, machine: Machine) -> None:
        different = differences(self._golden, machine.left())
        assert not different, "\n".join(different)
        if self._scenario.day is not None:
            assert verify_day(machine, self._scenario.day) == 0, "A deep verify finds differences."

    def _job(self, machine: Machine) -> Job:
        def job() -> None:
            with temporary_files_in(machine.folder / "tmp"):
                code = self._scenario.command(machine)
            assert code == 0, f"{self._scenario.name} ends with {code}."

        return job


def differences(golden: Any, found: Any, place: str = "") -> list[str]:
    """What is not as in `golden`, a line for each."""
    if isinstance(golden, dict) and isinstance(found, dict):
        names = sorted({*golden, *found})
        return [
            line
            for name in names
            for line in differences(golden.get(name), found.get(name), f"{place}/{name}")
        ]
    if isinstance(golden, (set, list)) and isinstance(found, (set, list)):
        lacking, extra = Counter(golden) - Counter(found), Counter(found) - Counter(golden)
        return [f"{place} lacks {item}"[:500] for item in lacking] + [
            f"{place} has {item}"[:500] for item in extra
        ]
    return [] if golden == found else [f"{place}: {found} instead of {golden}"[:500]]
