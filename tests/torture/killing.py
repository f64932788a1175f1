"""Kill a process of its own at a chosen instant: after so many lines of `lse`, or after so many seconds."""

import faulthandler
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lse

_PACKAGE = str(Path(lse.__file__).parent)
_SANDBOX = str(Path(lse.__file__).parent / "sandbox")
HANGS_AFTER = 60.0
"""Seconds after which a process that should have ended is said to hang."""

Job = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant in the life of a process, written as `line:1234` or `time:0.250`."""

    kind: str
    at: float

    def __str__(self) -> str:
        return f"{self.kind}:{self.at:.3f}" if self.kind == "time" else f"{self.kind}:{self.at:.0f}"

    @classmethod
    def parse(cls, text: str) -> "Moment":
        """The moment that `str` wrote."""
        kind, _, at = text.partition(":")
        return cls(kind, float(at))


@dataclass(frozen=True, slots=True)
class Life:
    """How long a job lives when nothing happens to it."""

    lines: int
    seconds: float

    def moment(self, seed: str) -> Moment:
        """A moment in it that follows from `seed`: two of three are lines, the third is a time."""
        chance = random.Random(seed)
        if chance.random() < 2 / 3:
            return Moment("line", chance.randint(1, self.lines))
        return Moment("time", round(chance.uniform(0, self.seconds), 3))


def lines_of(job: Job) -> int:
    """How many lines of `lse` a process runs that runs `job` to its end."""
    reading, writing = os.pipe()

    def counting() -> None:
        seen = _trace(lambda line: None)
        job()
        os.write(writing, str(seen()).encode())

    assert wait_for(forked(counting)) == 0, "The job fails already when nothing kills it."
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return int(pipe.read())


def seconds_of(job: Job) -> float:
    """How long a process lives that runs `job` to its end."""
    began = time.monotonic()
    assert wait_for(forked(job)) == 0, "The job fails already when nothing kills it."
    return time.monotonic() - began


def killed(job: Job, moment: Moment) -> bool:
    """Run `job` in a process of its own and kill it at `moment`; False when it had ended before."""
    if moment.kind == "line":
        child = forked(lambda: (_trace(_die_at(int(moment.at))), job()))
    else:
        child = forked(job)
        time.sleep(moment.at)
        os.kill(child, signal.SIGKILL)
    status = wait_for(child)
    assert status in (0, -signal.SIGKILL), f"The job failed with {status} before it was killed."
    return status != 0


def forked(job: Job) -> int:
    """The id of a process that runs `job` and ends: with 0, or with 1 and a traceback."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside the sandbox's threads
        child = os.fork()
    if child:
        return child
    status = 1
    gc.freeze()  # the tests' objects are none of the job's: collecting them would copy all their pages
    try:
        faulthandler.dump_traceback_later(HANGS_AFTER - 5)
        job()
        status = 0
    except BaseException:  # noqa: BLE001 - shown, whatever it was; this process must not go on as a second pytest
        traceback.print_exc()
    finally:
        os._exit(status)


def wait_for(child: int, seconds: float = HANGS_AFTER) -> int:
    """The exit code of `child`, negative for a signal; one that hangs is killed, which fails the test."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"Process {child} hangs.")


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let this process make its temporary files in `folder`, where what it leaves shows."""
    folder.mkdir(exist_ok=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _die_at(number: int) -> Callable[[int], None]:
    def count(line: int) -> None:
        if line == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def _trace(on_line: Callable[[int], None]) -> Callable[[], int]:
    """Call `on_line` with the running number of each line of `lse`, in all threads; returns the number."""
    seen = 0

    def in_lse(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            on_line(seen)
        return in_lse

    def anywhere(frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        return in_lse if file.startswith(_PACKAGE) and not file.startswith(_SANDBOX) else None

    threading.settrace(anywhere)
    sys.settrace(anywhere)
    return lambda: seen
