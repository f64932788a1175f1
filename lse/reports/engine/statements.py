"""The SQL of a grouped report: one statement, so that it sees one state of the store.

Every row is a part of a group: the values it is grouped by as `k0`, `k1`, …, and figures that are put
together with those of the group's other rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lse.models.filter import RunFilter
from lse.reports import Request
from lse.reports.engine.dimensions import Dimension
from lse.reports.engine.figures import FIGURES, TRACES
from lse.store.filtering import filter_sql

_WINDOW = "run_date between %(start)s and %(end)s and (%(project)s::text is null or project = %(project)s)"
_ROLLED = frozenset({"day", "week", "month", "project", "name", "type", "status", "model"})
_ROLLED_TRACES = frozenset({"day", "week", "month", "project", "name"})
_ROLLED_FEEDBACK = frozenset({"day", "week", "month", "project", "key"})
_RATED = """(
        select feedback.run_date, feedback.project, key, score,
               name, run_type, status, model, tags, error, runs.data
        from feedback left join runs using (run_date, run_id)
    ) as rated"""
ERROR = "coalesce(error, '')"
"""The column that is not grouped by as it is: rows whose messages say the same become one group."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a grouped report wants to know."""

    dimensions: tuple[Dimension, ...]
    figures: tuple[str, ...]
    where: RunFilter
    subject: RunFilter
    failed_only: bool
    of_feedback: bool

    @property
    def columns(self) -> list[str]:
        """What is grouped by in SQL; dimensions may share a column."""
        looked_at = [ERROR] if "fingerprint" in self.where.fields else []
        return list(dict.fromkeys([*(dimension.column for dimension in self.dimensions), *looked_at]))

    @property
    def fields(self) -> set[str]:
        """Everything about a run that groups and conditions look at."""
        return {d.name for d in self.dimensions} | self.where.fields | self.subject.fields


def statement(question: Question, request: Request) -> tuple[str, dict[str, Any]]:
    """The statement and its parameters."""
    where, of_where = filter_sql(question.where.without("fingerprint"), "where")
    subject, of_subject = filter_sql(question.subject, "subject")
    failed = f"status is distinct from 'success' and {subject}"
    population = f"{_WINDOW} and {where}"
    if question.failed_only:  # said once for all figures
        population, failed = f"{population} and {failed}", "true"
    keys = {d.parameter: d.key for d in question.dimensions if d.key is not None}
    parameters = {**request.parameters, **of_where, **of_subject, **keys}
    if question.of_feedback:
        rolled = question.fields <= _ROLLED_FEEDBACK
        figures = _sums(_over_rows(question)) if rolled else _of_runs(question)
        table = "daily_feedback" if rolled else _RATED
        return _select(question, figures, table, population, failed), parameters
    if not _is_rolled(question):
        return _select(question, _of_runs(question), "runs", population, failed), parameters
    return "\nunion all\n".join(_over_rollups(question, population, failed, subject)), parameters


def _is_rolled(question: Question) -> bool:
    """Whether the rollups can tell everything. Traces of several names together they cannot."""
    if any(FIGURES[name].over_rollups is None for name in question.figures if name not in TRACES):
        return False
    if not TRACES & set(question.figures):
        return question.fields <= _ROLLED
    exact = all(not c.contains for c in (*question.where, *question.subject))
    return question.fields <= _ROLLED_TRACES and exact and not question.failed_only


def _over_rollups(question: Question, population: str, failed: str, subject: str) -> Iterator[str]:
    """Traces stand in a table of their own, by name and in rows without one for all names together."""
    own = _over_rows(question)
    if "latencies" in own:  # sorted in each row, not across rows
        yield _select(question, own, "daily_rollups", population, failed, grouped=False)
    elif any(own.values()):
        yield _select(question, _sums(own), "daily_rollups", population, failed)
    if TRACES & set(question.figures):
        named = "name" in {d.name for d in question.dimensions} | question.where.fields
        counted = "by_name" if named else "not by_name"
        counted_failed = f"by_name and {subject}" if question.subject else counted
        yield _select(
            question,
            {
                "traces": f"sum(traces) filter (where {counted})",
                "failed_traces": f"sum(failed_traces) filter (where {counted_failed})",
            },
            "daily_traces",
            f"{population} and ({counted} or {counted_failed})",
            failed,
        )


def _over_rows(question: Question) -> dict[str, str | None]:
    return {name: FIGURES[name].over_rollups for name in question.figures if name not in TRACES}


def _sums(values: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: f"sum({value})" for name, value in values.items()}


def _of_runs(question: Question) -> dict[str, str]:
    merged = ERROR in question.columns
    figures = {name: FIGURES[name] for name in question.figures}
    return {
        name: figure.over_ids if merged and figure.over_ids else figure.over_runs
        for name, figure in figures.items()
    }


def _select(
    question: Question,
    figures: Mapping[str, str | None],
    table: str,
    population: str,
    failed: str,
    *,
    grouped: bool = True,
) -> str:
    """The figures of `table` for each group, or of each of its rows; null for those it does not have."""
    columns = [f"{column} as k{number}" for number, column in enumerate(question.columns)]
    columns += [
        f"{(figures.get(name) or 'null').format(failed=failed)} as {name}" for name in question.figures
    ]
    joins = "".join({dimension.join: None for dimension in question.dimensions})
    groups = ", ".join(str(number + 1) for number in range(len(question.columns))) or "()"
    text = f"select {', '.join(columns)}\nfrom {table}{joins}\nwhere {population}"
    return f"{text}\ngroup by {groups}" if grouped else text
