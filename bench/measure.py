"""How the benchmarks measure time and memory."""

import resource
import time
from collections.abc import Callable


def seconds_of(work: Callable[[], object]) -> float:
    """How long `work` takes, by the wall clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory() -> float:
    """The most memory this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
