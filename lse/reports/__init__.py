"""Questions to the archived runs. One file of this folder is one report, called by its file name.

Most are a docstring and a declaration: `REPORT = Grouped(...)` or `REPORT = Listing(...)`, over the engine in
`lse/reports/engine`. A report with a form of its own is a module with the members of `Report`.
"""

import ast
import functools
import importlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from lse.errors import UsageError
from lse.formats import Document
from lse.models import Run, each_day
from lse.models.filter import RunFilter
from lse.reports._coverage import Coverage, DayState, coverage_of

if TYPE_CHECKING:
    from lse.store.reading import Reader

__all__ = [
    "Coverage",
    "DatedRun",
    "DayState",
    "Feedback",
    "Report",
    "Request",
    "about",
    "coverage_of",
    "find_report",
    "report_formats",
    "report_names",
    "report_options",
    "report_summary",
]

TABLE_FORMATS = ("csv", "json", "markdown", "text", "html", "parquet", "xlsx")
"""The forms of every table, the default first."""

_TAKEN = {"Grouped": frozenset({"by", "where", "top"}), "Listing": frozenset({"where", "top"})}
"""What a report over the engine heeds unless it says otherwise with `takes`."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a report is about: UTC days, both ends included, one project or all, and what its options say."""

    start: date
    end: date
    project: str | None = None
    by: tuple[str, ...] = ()
    """What to group by; empty: what the report groups by anyway"""
    where: RunFilter = field(default_factory=RunFilter)
    """Which runs count at all"""
    subject: RunFilter = field(default_factory=RunFilter)
    """Which of these can count as failed"""
    top: int | None = None
    """How many rows at most, those with the most first; None: as many as the report gives anyway"""
    new_since: date | None = None
    """From which day on an error is new that was not seen before; None: the last day"""
    name: str = ""
    """The report's name; this and the next are for the forms that say so"""
    coverage: Coverage | None = None
    """What is known about the days"""

    @property
    def days(self) -> list[date]:
        """Each day, ascending."""
        return each_day(self.start, self.end)

    @property
    def parameters(self) -> dict[str, Any]:
        """Days and project, for a query."""
        return {"start": self.start, "end": self.end, "project": self.project}

    def __str__(self) -> str:
        return str(self.start) if self.start == self.end else f"{self.start} to {self.end}"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a record of feedback says: its key, and its score when it has one."""

    key: str | None
    score: Decimal | None


@dataclass(frozen=True, slots=True)
class DatedRun:
    """A run with the project and the UTC day of its trace."""

    day: date
    run: Run
    project: str = ""
    text: bytes = b"{}"
    """The run as JSON, for what is not in `run`"""
    feedback: Feedback | None = None
    """The record of feedback on the run that this is about, for a report on feedback"""


class Report(Protocol):
    """What a report offers, be it a module or the `REPORT` of one."""

    FORMATS: tuple[str, ...]

    @property
    def QUERY(self) -> str:  # noqa: N802 - a constant of modules
        """What it asks the store when it is asked without options, for whoever looks at plans."""

    def from_store(self, reader: "Reader", request: Request) -> Sequence[Any]:
        """The report's rows, computed in the database."""

    def from_runs(self, runs: Iterable[DatedRun], request: Request) -> Sequence[Any]:
        """The same rows, computed from every run of the requested days."""

    def render(self, rows: Sequence[Any], request: Request, form: str) -> Document:
        """The rows in one of `FORMATS`."""


def about(request: Request) -> dict[str, Any]:
    """What a JSON document says besides its rows."""
    return {
        "report": request.name,
        "start": request.start.isoformat(),
        "end": request.end.isoformat(),
        "project": request.project,
        "by": list(request.by) or None,
        "where": list(map(str, request.where & request.subject)),
        "coverage": request.coverage.document if request.coverage else None,
    }


def report_names() -> list[str]:
    """The names of all reports, as typed on the command line."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(file.stem.replace("_", "-") for file in files)


def report_summary(name: str) -> str:
    """The first line of a report's docstring, read without importing it."""
    return (ast.get_docstring(_parsed(name)) or "").partition("\n")[0]


def report_formats(name: str) -> tuple[str, ...]:
    """A report's `FORMATS`, the default first, read without importing it."""
    value = _assigned(name, "FORMATS")
    return tuple(ast.literal_eval(value)) if value is not None else TABLE_FORMATS


def report_options(name: str) -> frozenset[str]:
    """Which members of `Request` a report heeds besides days and project, read without importing it."""
    value = _assigned(name, "REPORT")
    if not isinstance(value, ast.Call):
        return frozenset()
    given = {word.arg: word.value for word in value.keywords}
    if "takes" in given:
        return frozenset(ast.literal_eval(given["takes"]))
    return _TAKEN[ast.unparse(value.func)]


def find_report(name: str) -> Report:
    """The report called `name`. Raises `UsageError` naming those there are."""
    if name not in report_names():
        raise UsageError(f"There is no report {name!r}.", hint=f"Reports: {', '.join(report_names())}.")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast(Report, getattr(module, "REPORT", module))


def _assigned(name: str, variable: str) -> ast.expr | None:
    """What a report's file assigns to `variable`."""
    assignments = (node for node in _parsed(name).body if isinstance(node, ast.Assign))
    return next((node.value for node in assignments if ast.unparse(node.targets[0]) == variable), None)


@functools.cache
def _parsed(name: str) -> ast.Module:
    return ast.parse(Path(__file__).with_name(f"{name.replace('-', '_')}.py").read_text("utf-8"))
