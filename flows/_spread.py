"""Where the project days of a flow run are worked on: in threads of its process, or on a Dask cluster."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from queue import LifoQueue
from typing import Any, Literal
from uuid import UUID

from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from lse.errors import ConfigurationError
from lse.resources import Resources
from lse.settings import load_settings

Engine = Literal["threads", "dask"]
"""`dask`: the cluster whose scheduler DASK_SCHEDULER_ADDRESS names, else processes on this machine."""

Lend = Callable[[], AbstractContextManager[Resources]]
"""Gives a task the `Resources` to work with, which nobody else uses meanwhile."""


def opened() -> Resources:
    """What the steps work with, set up from the environment; events name the flow run."""
    return Resources(load_settings(), origin=UUID(flow_run.id) if flow_run.id else None)


@contextmanager
def spread(engine: Engine, at_once: int) -> Iterator[tuple[TaskRunner[Any], Lend]]:
    """What runs `at_once` tasks side by side, and what lends each of them its `Resources`.

    Raises `ConfigurationError` where Dask is meant and not installed.
    """
    if engine == "dask":
        with _dask(at_once) as cluster:
            yield cluster, opened  # by the worker, from its own environment
        return
    threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=at_once)
    with _several(at_once) as lend, threads as runner:
        yield runner, lend


def _dask(at_once: int) -> TaskRunner[Any]:
    try:
        import dask
        from prefect_dask.task_runners import DaskTaskRunner  # takes a second
    except ImportError:
        raise ConfigurationError(
            "The extra `dask` is not installed.", hint="Type: pip install 'lse[dask]'"
        ) from None
    if address := os.environ.get("DASK_SCHEDULER_ADDRESS"):
        return DaskTaskRunner(address=address)
    # The profiler looks at all threads a hundred times a second, which can block a process for ever before
    # Python 3.11.9 and 3.12.3 (CPython's issue 106883; seen once in thirty sweeps on 3.11.7).
    dask.config.set({"distributed.worker.profile.enabled": False})
    # A thread of each process: not everything that `Resources` opens may be shared.
    processes = {"n_workers": at_once, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    return DaskTaskRunner(cluster_kwargs=processes)


@contextmanager
def _several(number: int) -> Iterator[Lend]:
    """So many `Resources`, which stay open from one task to the next and keep to the same rates."""
    idle: LifoQueue[Resources] = LifoQueue()

    @contextmanager
    def lend() -> Iterator[Resources]:
        resources = idle.get()
        try:
            yield resources
        finally:
            idle.put(resources)

    with ExitStack() as entered:
        first = entered.enter_context(opened())
        idle.put(first)
        for _ in range(number - 1):
            idle.put(entered.enter_context(Resources(first.settings, origin=first.origin, rates=first.rates)))
        yield lend
