"""Sweeps whose database fails on the way, each followed by one without faults."""

import time
from typing import Any

import psycopg
import pytest
from fault_proxy import Fault, FaultProxy
from killing import forked, wait_for
from machines import DAY, Machine
from scenarios import SCENARIOS, World, differences, sweep, verify_day

from lse.errors import LseError
from lse.pipeline import full_sweep
from lse.pipeline.sweeping import exit_code
from lse.store import connection, loading, revisions, store

_OTHERS = """
select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
"""
CALLER_CAN_MEND = (0, 6)
"""Exit codes after a database that failed and is back: nothing was missed, or try again."""


class Sweeps:
    """Sweeps of one day in a world, compared with what a quiet one leaves."""

    def __init__(self, world: World) -> None:
        self._world = world
        with world.machine(SCENARIOS["sweep"]) as machine, FaultProxy(machine.database_url) as proxy:
            machine.flags["database_url"] = proxy.url
            proxy.arm(Fault("call", at=0))
            assert sweep(machine) == 0
            self.messages = proxy.seen - 10
            """How many messages a sweep surely sends to the database: some are sent only when it is slow"""
            self._golden = machine.left()

    def with_fault(self, fault: Fault) -> None:
        """A sweep that meets `fault` may be tried again, and the next one leaves all as it should be."""
        with self._world.machine(SCENARIOS["sweep"]) as machine, FaultProxy(machine.database_url) as proxy:
            proxy.arm(fault)
            assert wait_for(forked(lambda: _hasty_sweep(machine, proxy.url))) == 0, fault
            assert proxy.fired.wait(60), fault
            self.finish(machine)

    def finish(self, machine: Machine) -> None:
        """The sweep after a fault, once the server has noticed that its client is gone."""
        for _ in range(200):
            with psycopg.connect(machine.database_url) as asking:
                if asking.execute(_OTHERS).fetchone() == (0,):
                    break
            time.sleep(0.05)
        with machine.resources() as resources:
            results = full_sweep(resources, DAY)
        assert exit_code(results) == 0, [(each.step, each.summary) for each in results if each.exit_code]
        assert differences(self._golden, machine.left()) == []
        assert verify_day(machine) == 0


def _hasty_sweep(machine: Machine, url: str) -> None:
    machine.flags["database_url"] = url
    with pytest.MonkeyPatch.context() as patches:
        be_hasty(patches)
        try:
            code = sweep(machine)
        except LseError as error:
            code = error.exit_code
    assert code in CALLER_CAN_MEND, code


def be_hasty(patches: pytest.MonkeyPatch) -> None:
    """Let waits for the database end after seconds."""
    hasty: list[tuple[Any, str, float]] = [
        (connection, "CONNECT_TIMEOUT", 2),
        (revisions, "CONNECT_TIMEOUT", 2),
        (store, "STATEMENT_TIMEOUT", 1),
        (store, "_GRACE", 0),
        (loading, "BATCH_DEADLINE", 1),
    ]
    for module, name, seconds in hasty:
        patches.setattr(module, name, seconds)
