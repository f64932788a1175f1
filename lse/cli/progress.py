"""The progress bar; importing Rich takes a while, so this is imported when there is a terminal to draw on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from lse.models.results import Progress


@contextmanager
def bar(
    label: str, after: float, waited: Callable[[], float], console: Console | None = None
) -> Iterator[Progress]:
    """A bar that appears `after` seconds; gives the function that moves it."""
    begin, waited_before = time.monotonic(), waited()
    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[waited]}", markup=False),
        console=console or Console(stderr=True),
        transient=True,
    )
    task = bars.add_task(label, total=None, waited="")

    def advance(done: int, total: int | None) -> None:
        if time.monotonic() - begin >= after and not bars.live.is_started:
            bars.start()
        bars.update(task, completed=done, total=total, waited=_waits(waited() - waited_before))

    try:
        yield advance
    finally:
        bars.stop()


class _Rate(ProgressColumn):
    """How many are done per second, of late."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


def _waits(seconds: float) -> str:
    return f"waited {seconds:.0f} s for the rate limit" if seconds >= 1 else ""
