"""Reports that group runs and measure each group."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from typing import Any

from psycopg.sql import quote

from lse.errors import UsageError
from lse.formats import Cell, Document, Table, render
from lse.models.filter import ALL_RUNS, RunFilter
from lse.models.fingerprint import fingerprint
from lse.reports import TABLE_FORMATS, DatedRun, Request, about
from lse.reports.engine.dimensions import find_dimension, is_of_time
from lse.reports.engine.figures import FIGURES, unpacked
from lse.reports.engine.measures import MEASURES
from lse.reports.engine.statements import ERROR, Question, statement
from lse.store.reading import Reader

Row = tuple[Cell, ...]
_Groups = dict[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """A report with a row for each group of runs; it satisfies `Report`.

    Grouped by a time, rows come in its order, and by days alone every day has one; otherwise those with the
    most of `most` come first.
    """

    by: tuple[str, ...]
    """What it groups by unless asked otherwise"""
    measures: tuple[str, ...]
    """Its further columns, of `MEASURES`"""
    most: str
    """The measure that says which groups matter most"""
    failed_only: bool = False
    """Whether only failed runs count"""
    reads: str = "runs"
    """`feedback` for a report on records of feedback, grouped by the runs they are about"""
    takes: tuple[str, ...] = ("by", "where", "top")
    """The members of `Request` that it heeds besides days and project, written out"""
    where: RunFilter = ALL_RUNS
    """Which runs count, unless a condition on the same field says otherwise"""
    subject: RunFilter = ALL_RUNS
    """Which runs can count as failed, unless asked otherwise"""
    titles: tuple[str, ...] = ()
    """How the columns are called; left out: as dimensions and measures are"""
    FORMATS: tuple[str, ...] = TABLE_FORMATS

    @property
    def QUERY(self) -> str:  # noqa: N802 - a constant of other reports
        """The statement as asked without options and with its values, for whoever looks at plans."""
        plain = Request(date.min, date.min)
        sql, parameters = statement(self._question(plain), plain)
        for name in parameters.keys() - plain.parameters.keys():
            sql = sql.replace(f"%({name})s", quote(parameters[name]))
        return sql

    def from_store(self, reader: Reader, request: Request) -> list[Row]:
        """Every row, from the store."""
        question = self._question(request)
        sql, parameters = statement(question, request)
        place = {column: number for number, column in enumerate(question.columns)}
        wanted = {condition.value for condition in question.where.only("fingerprint")}
        groups: _Groups = {}
        for row in reader.tuples(sql, parameters):
            if wanted and wanted != {fingerprint(row[place[ERROR]])}:
                continue
            group = tuple(d.label(row[place[d.column]]) for d in question.dimensions)
            _add(groups, group, zip(question.figures, map(unpacked, row[len(place) :]), strict=True))
        return self._rows(groups, request)

    def from_runs(self, runs: Iterable[DatedRun], request: Request) -> list[Row]:
        """The same rows, from every run of the requested days, or from every record of feedback on one."""
        question = self._question(request)
        groups: _Groups = {}
        for dated in runs:
            if not question.where.matches(dated.run, dated.text):
                continue
            failed = dated.run.status != "success" and question.subject.matches(dated.run, dated.text)
            if failed or not self.failed_only:
                for group in _groups_of(dated, question):
                    _add(
                        groups, group, ((name, FIGURES[name].of(dated, failed)) for name in question.figures)
                    )
        return self._rows(groups, request)

    def render(self, rows: Sequence[Row], request: Request, form: str) -> Document:
        """The rows, or the first `request.top` of them, as a table."""
        by = request.by or self.by
        table = Table(
            self.titles or (*by, *self.measures), rows[: request.top], about(replace(request, by=by))
        )
        return render(table, form)

    def _question(self, request: Request) -> Question:
        names = request.by or self.by
        if self.reads != "feedback" and "key" in names:
            raise UsageError(
                "Only feedback has a key.",
                hint="By a key of the metadata: --by metadata.user, with your key for user."
                " By the key of feedback: lse report feedback --by key",
            )
        needs = (need for measure in self.measures for need in MEASURES[measure].needs)
        return Question(
            dimensions=tuple(map(find_dimension, names)),
            figures=tuple(dict.fromkeys(needs)),
            where=self.where.without(*request.where.fields) & request.where,
            subject=request.subject or self.subject,
            failed_only=self.failed_only,
            of_feedback=self.reads == "feedback",
        )

    def _rows(self, groups: _Groups, request: Request) -> list[Row]:
        by = request.by or self.by
        if by == ("day",):
            for day in request.days:
                groups.setdefault((day.isoformat(),), {})
        measured = {group: self._measured(figures, request) for group, figures in groups.items()}
        most = self.measures.index(self.most)
        ordered = sorted(measured)
        if request.top is not None or not is_of_time(by[0]):
            ordered.sort(key=lambda group: measured[group][most] or 0, reverse=True)
        return [(*group, *measured[group]) for group in ordered]

    def _measured(self, figures: dict[str, Any], request: Request) -> Row:
        known = defaultdict(lambda: None, figures)
        return tuple(MEASURES[name].value(known, request) for name in self.measures)


def _groups_of(dated: DatedRun, question: Question) -> Iterator[tuple[str, ...]]:
    """The groups that a run belongs to: more than one where it has several values of a dimension."""
    labels = ({dimension.label(value) for value in dimension.of(dated)} for dimension in question.dimensions)
    return product(*labels)


def _add(groups: _Groups, group: tuple[str, ...], figures: Iterable[tuple[str, Any]]) -> None:
    """Put `figures` together with those that `group` has by now; None stands for nothing."""
    known = groups.setdefault(group, {})
    for name, figure in figures:
        if figure is not None:
            known[name] = FIGURES[name].plus(known[name], figure) if name in known else figure
