"""Questions to the archived runs. One file of this folder is one report, called by its file name.

A report module has a docstring, `FORMATS` (the first is the default), `from_store(reader, request)` and
`from_runs(runs, request)`, which give the same rows, and `render(rows, request, form)`, which writes them.
"""

import ast
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from lse.errors import UsageError
from lse.models import Run

if TYPE_CHECKING:
    from lse.store.reading import Reader


@dataclass(frozen=True, slots=True)
class Request:
    """What a report is about: UTC days, both ends included, and one project or all."""

    start: date
    end: date
    project: str | None = None

    @property
    def days(self) -> list[date]:
        """Each day, ascending."""
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days + 1)]

    @property
    def parameters(self) -> dict[str, Any]:
        """The same for a query."""
        return {"start": self.start, "end": self.end, "project": self.project}

    def __str__(self) -> str:
        return str(self.start) if self.start == self.end else f"{self.start} to {self.end}"


@dataclass(frozen=True, slots=True)
class DatedRun:
    """A run with the UTC day of its trace."""

    day: date
    run: Run


class Report(Protocol):
    """What a report module offers."""

    __doc__: str | None
    FORMATS: tuple[str, ...]

    def from_store(self, reader: "Reader", request: Request) -> Sequence[Any]:
        """The report's rows, computed in the database."""

    def from_runs(self, runs: Iterable[DatedRun], request: Request) -> Sequence[Any]:
        """The same rows, computed from every run of the requested days."""

    def render(self, rows: Sequence[Any], request: Request, form: str) -> str:
        """The rows as text in one of `FORMATS`."""


def report_names() -> list[str]:
    """The names of all reports, as typed on the command line."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(file.stem.replace("_", "-") for file in files)


def report_summary(name: str) -> str:
    """The first line of a report's docstring, read without importing it."""
    return (ast.get_docstring(_parsed(name)) or "").partition("\n")[0]


def report_formats(name: str) -> tuple[str, ...]:
    """A report's `FORMATS`, read without importing it."""
    for node in _parsed(name).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FORMATS":
            return tuple(ast.literal_eval(node.value))
    return ()


def find_report(name: str) -> Report:
    """The report called `name`. Raises `UsageError` naming those there are."""
    if name not in report_names():
        raise UsageError(f"There is no report {name!r}.", hint=f"Reports: {', '.join(report_names())}.")
    return cast(Report, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def _parsed(name: str) -> ast.Module:
    return ast.parse(Path(__file__).with_name(f"{name.replace('-', '_')}.py").read_text("utf-8"))
