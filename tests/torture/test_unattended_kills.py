"""Kills of worker, server and flow process, and cancelled runs: the next scheduled run ends as a quiet one.

Each kill takes most of a minute, so there is one for 25 of TORTURE_KILLS. TORTURE_SEED says when; a failure
names the process and the moment, and TORTURE_REPLAY repeats exactly that.
"""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from machines import DAY, Machine
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from scenarios import SCENARIOS, World, differences

from bench import stack
from bench.stack import WORKER, Stack, children, kill_tree, until
from lse.settings import variable_name

KILLS = max(1, int(os.environ.get("TORTURE_KILLS") or 500) // 25)
SEED = os.environ.get("TORTURE_SEED") or str(random.randrange(10**6))
REPLAY = os.environ.get("TORTURE_REPLAY", "")
VICTIMS = ("worker", "server", "flow", "run")
"""A `run` is cancelled, as by its button in Prefect"""
EVERY = timedelta(seconds=30)
"""How often the deployment is scheduled; Prefect looks for what is due every five seconds"""


@dataclass(frozen=True)
class Kill:
    """Which process is killed, and how many seconds after a worker took up the run."""

    victim: str
    after: float

    def __str__(self) -> str:
        return f"{self.victim}:{self.after:.2f}"


class Team:
    """Server and worker for the whole series, and a deployment whose runs work on one machine at a time."""

    def __init__(self, running: Stack, client: Any) -> None:
        self._running = running
        self._client = client
        self._server = running.start_server()
        running.deploy()
        self._worker = running.start(*WORKER)
        self._deployment = client.read_deployment_by_name("full-sweep/day")
        self._ours = FlowRunFilterDeploymentId(any_=[self._deployment.id])

    def quiet(self, machine: Machine) -> float:
        """Let a scheduled run end; how many seconds after a worker took it up."""
        with self._scheduled(machine) as begin:
            self._taken_up(begin)
            taken = time.monotonic()
            self._completed(begin)
            return time.monotonic() - taken

    def killed(self, machine: Machine, kill: Kill) -> None:
        """Kill during a scheduled run, start again what was killed, and wait until the next one has ended."""
        with self._scheduled(machine) as begin:
            self._taken_up(begin)
            time.sleep(kill.after)
            flows = children(self._worker.pid)
            died = datetime.now(UTC)
            self._kill(kill.victim)
            self._completed(died)
            until(lambda: not any(map(_lives, flows)), 120)  # a flow outlives its worker

    def marked_dead(self) -> bool:
        """Whether no run is said to be running any more: those that were killed are marked as crashed."""
        return not self._going()

    def _going(self) -> list[Any]:
        """The runs that are said to be running."""
        states = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
        wanted = FlowRunFilter(state=FlowRunFilterState(type=states))
        return list(self._client.read_flow_runs(flow_run_filter=wanted))

    def _kill(self, victim: str) -> None:
        if victim == "flow":
            for pid in children(self._worker.pid):
                subprocess.run(["kill", "-KILL", str(pid)], check=False, capture_output=True)
        if victim == "run":
            for run in self._going():
                self._client.set_flow_run_state(run.id, State(type=StateType.CANCELLING), force=True)
        if victim == "worker":
            self._worker.kill()
        if victim == "server":
            kill_tree(self._server)
            self._server = self._running.start_server()
        if self._worker.poll() is not None or victim == "worker":  # it may not survive its server
            self._worker.wait(timeout=10)
            self._worker = self._running.start(*WORKER)

    @contextmanager
    def _scheduled(self, machine: Machine) -> Iterator[datetime]:
        """A schedule of `DAY` on `machine`; gives the time at which it began."""
        environment = {**self._deployment.job_variables["env"], **environment_of(machine)}
        change = DeploymentUpdate(job_variables={"env": environment})
        self._client.update_deployment(self._deployment.id, change)
        begin = datetime.now(UTC)
        each = IntervalSchedule(interval=EVERY, anchor_date=begin + timedelta(seconds=6))
        day = {"project": DAY.project, "date": DAY.day.isoformat()}
        [schedule] = self._client.create_deployment_schedules(
            self._deployment.id, [(each, True)], parameters=day
        )
        try:
            yield begin
        finally:
            self._client.delete_deployment_schedule(self._deployment.id, schedule.id)

    def _taken_up(self, begin: datetime) -> None:
        until(lambda: any(run.state_name not in ("Scheduled", "Late") for run in self._since(begin)))

    def _completed(self, begin: datetime) -> None:
        until(lambda: any(run.state_name == "Completed" for run in self._since(begin)), 900)

    def _since(self, begin: datetime) -> list[Any]:
        """The scheduled runs that were due after `begin`."""
        span = {"after_": begin, "before_": datetime.now(UTC)}
        due = FlowRunFilterExpectedStartTime.model_validate(span)
        wanted = FlowRunFilter(expected_start_time=due, deployment_id=self._ours)
        return list(self._client.read_flow_runs(flow_run_filter=wanted))


@pytest.fixture
def world(tmp_path: Path, postgres_url: str, template: str) -> Iterator[World]:
    made = World(tmp_path, template, postgres_url)
    yield made
    made.close()


@pytest.mark.timeout(0)
def test_after_a_kill_the_next_scheduled_run_leaves_what_a_quiet_one_leaves(
    world: World, tmp_path: Path
) -> None:
    print(f"TORTURE_SEED={SEED} kills={KILLS}")
    scenario = SCENARIOS["sweep-to-drive"]
    with (
        world.machine(scenario) as bystander,  # what the automations' own runs of `alerts` look at
        stack.postgres() as database,
        Stack(tmp_path, database, environment_of(bystander)) as running,
        running.client() as client,
    ):
        team = Team(running, client)
        with world.machine(scenario) as machine:
            life = team.quiet(machine)
            golden = machine.left()
        for kill in chosen(life):
            print(f"unattended {kill}", flush=True)
            with world.machine(scenario) as machine:
                team.killed(machine, kill)
                different = differences(golden, machine.left())
            assert not different, "\n".join([*different, f"Again: make torture REPLAY='unattended {kill}'"])
        until(team.marked_dead, 600)


def environment_of(machine: Machine) -> dict[str, str]:
    """The settings of a machine as variables."""
    return {variable_name(name): str(value) for name, value in machine.settings().items()}


def chosen(life: float) -> list[Kill]:
    """The kills of this series, of which each victim gets its share, or the one that is repeated."""
    if REPLAY.startswith("unattended "):
        victim, _, after = REPLAY.split()[1].partition(":")
        return [Kill(victim, float(after))]
    chances = [random.Random(f"{SEED}/unattended/{number}") for number in range(KILLS)]
    return [
        Kill(VICTIMS[number % len(VICTIMS)], chance.uniform(0, life)) for number, chance in enumerate(chances)
    ]


def _lives(pid: int) -> bool:
    """Whether a process runs; one that is over and that nobody asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False
