"""How the benchmarks measure time and memory."""

import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Measured:
    """What some work took."""

    seconds: float
    peak: float = 0.0
    """The most memory one of its processes held, in MB; 0 where that says nothing"""


def seconds_of(work: Callable[[], object]) -> float:
    """How long `work` takes, by the wall clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory() -> float:
    """The most memory this process ever held, in MB; unlike `ru_maxrss` without that of who started it."""
    [line] = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(line) * 1024 / 1e6


def together(jobs: Sequence[tuple[Any, ...]]) -> Measured:
    """Each job, a function and its arguments, in a fresh process; all begin at once.

    From the first beginning to the last end; starting the processes does not count.
    """
    gate = _PROCESSES.Barrier(len(jobs))
    results: Queue[tuple[float, float, float]] = _PROCESSES.Queue()
    processes = [_PROCESSES.Process(target=_job, args=(gate, results, *job)) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError("a measured process failed")
    began, ended, peaks = zip(*(results.get(timeout=5) for _ in jobs), strict=True)
    return Measured(max(ended) - min(began), max(peaks))


def _job(
    gate: Barrier, results: "Queue[tuple[float, float, float]]", work: Callable[..., object], *arguments: Any
) -> None:
    gate.wait(60)
    began = time.time()
    work(*arguments)
    results.put((began, time.time(), peak_memory()))
