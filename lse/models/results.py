"""What a step says when it is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Figure = int | float | str | bool | None

Progress = Callable[[int, int | None], None]
"""Told how much is done, and of how much where that is known."""

State = Literal["done", "unchanged", "partial", "differences", "skipped", "failed", "not run"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """The outcome of one step of one project day."""

    step: str
    state: State
    summary: str
    """One line for people, without trace text."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """The same for programs: counts, bytes, seconds, paths."""
    details: tuple[str, ...] = ()
    """A line each for what needs a look: differences, missing parents, quarantined runs."""
    hint: str = ""
    exit_code: int = 0
