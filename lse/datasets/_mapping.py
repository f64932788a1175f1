"""From a trace to an example, or to the reason why it is none."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from lse.datasets import Confidence, Example, Feedback, Field, Recipe
from lse.datasets._feedback import counts, shown
from lse.datasets._paths import parse_paths
from lse.datasets._redaction import redactor
from lse.datasets._traces import RunDocument, TraceDocument
from lse.models import ProjectDay
from lse.models.filter import RunFilter

LINEAGE = ("trace_id", "run_ids", "project", "date", "window", "eval_type", "recipe_sha256")
"""What an example's metadata says about where it is from."""

ADDED = (*LINEAGE, "feedback", "defaulted", "derived", "dataset_split")
"""The members of the metadata that are not a recipe's to name."""

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Dropped(Exception):
    """The trace is no example; the text says why and holds nothing of the trace."""


class Mapper:
    """Makes examples of traces by the rules of one recipe; `window` names the days of the dataset."""

    def __init__(self, recipe: Recipe, window: str) -> None:
        self._recipe = recipe
        self._window = window
        self._rules = recipe.rules
        self._where = RunFilter.parse(recipe.rules.where)
        self._redact = redactor(recipe.rules.redact)

    def example(self, trace: TraceDocument, day: ProjectDay) -> Example:
        """The example that `trace` is. Raises `Dropped` when it does not qualify."""
        rules = self._rules
        root = trace.root
        if root is None:
            raise Dropped("no root run")
        _require_root(root, self._where, rules.statuses)
        if rules.feedback:
            _require_verdict(trace, rules.feedback)
        if rules.confidence:
            _require_confidence(trace, rules.confidence)
        found = _Found(trace)
        inputs = found.fields("inputs", rules.inputs)
        outputs = found.outputs(rules.outputs, self._recipe)
        metadata = found.fields("metadata", rules.metadata)
        metadata |= found.about(rules.feedback)
        return Example(inputs, outputs, {**metadata, **self._lineage(found, trace, day)})

    def redacted(self, example: Example) -> Example:
        """`example` without the personal data that the recipe names; where it is from stays."""
        lineage = {name: example.metadata[name] for name in LINEAGE}
        others = {name: value for name, value in example.metadata.items() if name not in lineage}
        return Example(
            self._redact(example.inputs), self._redact(example.outputs), {**self._redact(others), **lineage}
        )

    def _lineage(self, found: "_Found", trace: TraceDocument, day: ProjectDay) -> dict[str, Any]:
        return {
            "trace_id": trace.id,
            "run_ids": sorted(found.run_ids),
            "project": day.project,
            "date": day.day.isoformat(),
            "window": self._window,
            "eval_type": self._recipe.name,
            "recipe_sha256": self._recipe.sha256,
        }


class _Found:
    """What was found in one trace: which runs gave values, and which fields no run has."""

    def __init__(self, trace: TraceDocument) -> None:
        self._trace = trace
        self.run_ids = {trace.id}
        self._defaulted: list[str] = []
        self._derived: list[str] = []

    def fields(self, part: str, wanted: Mapping[str, Field]) -> dict[str, Any]:
        """The values of `wanted`, with defaults for the gaps."""
        return {
            name: self._or_default(part, name, field, self._first(field)) for name, field in wanted.items()
        }

    def outputs(self, wanted: Mapping[str, Field], recipe: Recipe) -> dict[str, Any]:
        """As `fields`; the recipe's own code fills gaps before defaults do."""
        stated = {name: self._first(field) for name, field in wanted.items()}
        derived = recipe.derive(stated, self._look) if recipe.derive else {}
        for name in wanted:
            if stated[name] is None and derived.get(name) is not None:
                stated[name] = derived[name]
                self._derived.append(name)
        return {
            name: self._or_default("outputs", name, field, stated[name]) for name, field in wanted.items()
        }

    def about(self, rule: Feedback | None) -> dict[str, Any]:
        """The feedback behind the example, and the names of outputs that no run states."""
        records = [
            shown(record, run.id, rule)
            for run in self._trace.judged()
            for record in run.feedback
            if rule is None or record["key"] == rule.key
        ]
        added = {"feedback": records, "defaulted": sorted(self._defaulted), "derived": sorted(self._derived)}
        return {name: values for name, values in added.items() if values}

    def _first(self, field: Field) -> Any:
        """The first value of the field's kind, the root's before any other's."""
        paths, fitting = parse_paths(field.paths), _KINDS[field.kind]
        for run in self._trace.runs():
            if _is_meant(run, field) and (value := run.first(paths, fitting)) is not None:
                self.run_ids.add(run.id)
                return value
        return None

    def _look(self, path: str) -> Any:
        return first_in(self._trace, (path,))

    def _or_default(self, part: str, name: str, field: Field, value: Any) -> Any:
        if field.required and (
            value is None or value == "" or (isinstance(value, str) and not value.strip())
        ):
            raise Dropped(f"no value for {part}.{name}")
        if value is None and field.default is not None:
            self._defaulted.append(f"{part}.{name}")
            return field.default
        return value


def first_in(trace: TraceDocument, paths: tuple[str, ...]) -> Any:
    """The first value of `paths` in the first run that has one; None when no run has."""
    parsed = parse_paths(paths)
    for run in trace.runs():
        if (value := run.first(parsed, _any)) is not None:
            return value
    return None


def _is_meant(run: RunDocument, field: Field) -> bool:
    return (field.run_name is None or run.member("name") == field.run_name) and (
        field.run_type is None or run.member("run_type") == field.run_type
    )


def _any(value: Any) -> Any:
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    return bool(value) if isinstance(value, int | Decimal) else None


def _number(value: Any) -> int | Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = Decimal(value.strip())
        except ArithmeticError:
            return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    return value if isinstance(value, int | Decimal) else None


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "any": _any,
    "text": _text,
    "boolean": _boolean,
    "number": _number,
    "list": _list,
}
"""A value as what the field must be; None when it cannot be read as such."""


def _require_root(root: RunDocument, where: RunFilter, statuses: tuple[str, ...]) -> None:
    if statuses and root.member("status") not in statuses:
        raise Dropped(f"status is not {' or '.join(statuses)}")
    for condition in where:
        if not root.meets(condition):
            raise Dropped(f"not {condition}")


def _require_verdict(trace: TraceDocument, rule: Feedback) -> None:
    verdict = _verdict(trace, rule)
    if rule.agrees_with:
        decision = first_in(trace, rule.agrees_with)
        if not isinstance(decision, str) or decision.strip().upper() != verdict:
            raise Dropped("the verdict is not the application's decision")


def _verdict(trace: TraceDocument, rule: Feedback) -> str:
    """What the first run with a verdict says."""
    any_record = False
    for run in trace.judged():
        records = [record for record in run.feedback if counts(record, rule)]
        any_record = any_record or bool(records)
        verdicts: list[str] = [record["verdict"] for record in records if record["verdict"]]
        if len(set(verdicts)) > 1 and rule.several == "unanimous":
            raise Dropped("the verdicts disagree")
        if verdicts:
            return verdicts[-1]
    raise Dropped(f"feedback {rule.key} has no verdict" if any_record else f"no feedback {rule.key}")


def _require_confidence(trace: TraceDocument, rule: Confidence) -> None:
    confidence = _number(first_in(trace, rule.paths))
    if confidence is None:
        raise Dropped("no confidence")
    if confidence < Decimal(str(rule.at_least)):
        raise Dropped(f"confidence is below {rule.at_least:g}")
