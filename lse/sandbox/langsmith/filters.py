"""LangSmith's filter language: `and(eq(run_type, "llm"), gt(latency, "5s"))`.

Comparisons are `eq neq gt gte lt lte in like has exists search`, joined by `and or not`. Field names and
operators are those of LangSmith's documentation of the trace query syntax.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from lse.sandbox.langsmith import times
from lse.sandbox.langsmith.runs import Run

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"""
    r"""|(?P<word>[A-Za-z_][\w.]*)|(?P<mark>[(),\[\]]))""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DEPTH = 100


class FilterError(ValueError):
    """The text is no filter; the message says where it stops making sense."""


class Knowledge(Protocol):
    """What a filter may ask about a run beyond the run itself."""

    def feedback_on(self, run_id: str) -> Sequence[Mapping[str, Any]]: ...

    def tokens(self, run: Run) -> int: ...


Test = Callable[[Run, Knowledge], bool]


@dataclass(frozen=True, slots=True)
class Field:
    """The name of a field inside a filter."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """One `operator(argument, ...)` of a filter."""

    operator: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Filter:
    """A parsed filter. Filters of the same text are equal."""

    text: str
    tree: Call
    test: Test

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def matches(self, run: Run, knowledge: Knowledge) -> bool:
        """Whether `run` satisfies the filter."""
        return self.test(run, knowledge)

    @property
    def window(self) -> tuple[int | None, int | None]:
        """Bounds that every matching run's start keeps: low <= start < high, in microseconds since 1970.

        Taken from comparisons that must all hold; None where nothing bounds it.
        """
        lows: list[int] = []
        highs: list[int] = []
        for call in _conjuncts(self.tree):
            if call.operator in _BOUNDS and call.arguments[0] == Field("start_time"):
                at = times.moment(call.arguments[1])
                if at is not None:
                    side, shift = _BOUNDS[call.operator]
                    (lows if side == "low" else highs).append(times.micros(at) + shift)
        return max(lows, default=None), min(highs, default=None)

    @property
    def asks_feedback(self) -> bool:
        """Whether any comparison is about feedback."""
        return any(
            isinstance(argument, Field) and argument.name.startswith("feedback_")
            for call in _calls(self.tree)
            for argument in call.arguments
        )


_BOUNDS = {"gte": ("low", 0), "gt": ("low", 1), "lt": ("high", 0), "lte": ("high", 1)}


@lru_cache(maxsize=256)
def parse(text: str) -> Filter:
    """The filter that `text` says; `FilterError` for anything else, unknown operators and fields included."""
    tokens = list(_tokens(text))
    tree, rest = _expression(tokens, 0, 0)
    if rest != len(tokens):
        raise FilterError("there is text after the end of the filter")
    if not isinstance(tree, Call):
        raise FilterError('a filter begins with an operator, such as eq(status, "error")')
    return Filter(text, tree, _test(tree))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise FilterError(f"cannot read the filter at character {position + 1}")
        position = found.end()
        yield str(found.lastgroup), str(found[str(found.lastgroup)])


def _expression(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Any, int]:
    """The value that begins with token `at`, and the place after it."""
    if at >= len(tokens) or depth > _MAX_DEPTH:
        raise FilterError("the filter ends too early" if depth <= _MAX_DEPTH else "the filter is too deep")
    kind, token = tokens[at]
    if kind == "text":
        return _ESCAPE.sub(lambda found: _CONTROL.get(found[1], found[1]), token[1:-1]), at + 1
    if kind == "number":
        return json.loads(token), at + 1
    if kind == "word":
        if at + 1 < len(tokens) and tokens[at + 1][1] == "(" and tokens[at + 1][0] == "mark":
            arguments, after = _list(tokens, at + 2, ")", depth)
            return Call(token, arguments), after
        return (_WORDS[token] if token in _WORDS else Field(token)), at + 1
    if (kind, token) == ("mark", "["):
        return _list(tokens, at + 1, "]", depth)
    raise FilterError(f"{token} is not expected there")


def _list(tokens: list[tuple[str, str]], at: int, closing: str, depth: int) -> tuple[tuple[Any, ...], int]:
    items: list[Any] = []
    while at < len(tokens):
        if tokens[at] == ("mark", closing):
            return tuple(items), at + 1
        if items:
            if tokens[at] != ("mark", ","):
                raise FilterError(f"expected a comma, found {tokens[at][1]}")
            at += 1
        item, at = _expression(tokens, at, depth + 1)
        items.append(item)
    raise FilterError(f"{closing} is missing")


def _calls(tree: Call) -> Iterator[Call]:
    yield tree
    for argument in tree.arguments:
        if isinstance(argument, Call):
            yield from _calls(argument)


def _conjuncts(tree: Call) -> Iterator[Call]:
    if tree.operator == "and":
        for argument in tree.arguments:
            if isinstance(argument, Call):
                yield from _conjuncts(argument)
    else:
        yield tree


# --- from the tree to a test


def _test(tree: Call) -> Test:
    match tree.operator:
        case "and":
            return _all(tree.arguments)
        case "or":
            tests = [_test(part) for part in _parts(tree)]
            return lambda run, knowledge: any(test(run, knowledge) for test in tests)
        case "not":
            tests = [_test(part) for part in _parts(tree)]
            return lambda run, knowledge: not all(test(run, knowledge) for test in tests)
        case "search":
            return _search(tree)
        case "has":
            return _has(tree)
        case "exists":
            return _exists(tree)
        case operator if operator in _COMPARISONS:
            return _comparison(tree)
    raise FilterError(f"unknown operator {tree.operator}; known: {', '.join(OPERATORS)}")


def _parts(tree: Call) -> list[Call]:
    if not tree.arguments or not all(isinstance(part, Call) for part in tree.arguments):
        raise FilterError(f"{tree.operator} joins comparisons")
    return list(tree.arguments)


def _all(arguments: tuple[Any, ...]) -> Test:
    """Every part holds; parts about one family (`metadata_key`, `metadata_value`) hold for the same entry."""
    parts = _parts(Call("and", arguments))
    grouped: dict[str, list[Call]] = {}
    tests = []
    for part in parts:
        if family := _family(part):
            grouped.setdefault(family, []).append(part)
        else:
            tests.append(_test(part))
    tests += [_same_entry(family, calls) for family, calls in grouped.items()]
    return lambda run, knowledge: all(test(run, knowledge) for test in tests)


def _family(call: Call) -> str | None:
    """The family whose entries a positive comparison is about."""
    if call.operator not in _COMPARISONS or call.operator == "neq" or not call.arguments:
        return None
    first = call.arguments[0]
    name = first.name.rsplit("_", 1)[0] if isinstance(first, Field) and "_" in first.name else None
    return name if name in _FAMILIES and first.name in _FIELDS else None


def _same_entry(family: str, calls: list[Call]) -> Test:
    checks = [(_pair(call)[0].name.rsplit("_", 1)[1], _check(call)) for call in calls]
    entries = _FAMILIES[family]

    def test(run: Run, knowledge: Knowledge) -> bool:
        return any(
            all(check(value) for part, check in checks for value in [entry.get(part)])
            for entry in entries(run, knowledge)
        )

    return test


def _comparison(call: Call) -> Test:
    if (family := _family(call)) is not None:
        return _same_entry(family, [call])
    name, check = _field(_pair(call)[0]), _check(call)
    values = _FIELDS[name]
    if call.operator == "neq":
        return lambda run, knowledge: all(check(value) for value in values(run, knowledge))
    return lambda run, knowledge: any(check(value) for value in values(run, knowledge))


def _pair(call: Call) -> tuple[Field, Any]:
    if len(call.arguments) != 2 or not isinstance(call.arguments[0], Field):
        raise FilterError(f"{call.operator} takes a field and a value")
    _field(call.arguments[0])
    return call.arguments[0], call.arguments[1]


def _field(field: Field) -> str:
    if field.name not in _FIELDS:
        raise FilterError(f"unknown field {field.name}; known: {', '.join(sorted(_FIELDS))}")
    return field.name


def _check(call: Call) -> Callable[[Any], bool]:
    """A test of one value of the field against the constant of the comparison."""
    field, wanted = _pair(call)
    compare = _COMPARISONS[call.operator]
    if call.operator == "in":
        if not isinstance(wanted, tuple):
            raise FilterError("in takes a field and a list")
        accepted = [_constant(field.name, item) for item in wanted]
        return lambda value: any(_equal(value, item) for item in accepted)
    if isinstance(wanted, tuple | Field | Call):
        raise FilterError(f"{call.operator} compares with one constant")
    constant = _constant(field.name, wanted)
    return lambda value: compare(value, constant)


def _constant(name: str, wanted: Any) -> Any:
    """The constant in the type of the field: a time, seconds, or as written."""
    if name in ("start_time", "end_time"):
        at = times.moment(wanted)
        if at is None:
            raise FilterError(f'{name} is compared with a time, such as "2026-01-05T00:00:00Z"')
        return at
    if name == "latency" and isinstance(wanted, str):
        found = _DURATION.fullmatch(wanted.strip())
        if found is None:
            raise FilterError('latency is compared with seconds or a duration, such as "5s"')
        return float(found[1]) * _SECONDS[found[2] or "s"]
    return wanted


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool) or value is None or wanted is None:
        return value is wanted or (isinstance(wanted, str) and str(value).lower() == wanted.lower())
    if isinstance(value, str) != isinstance(wanted, str):
        return str(value) == str(wanted)
    return bool(value == wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(value: Any, wanted: Any) -> bool:
        numbers = isinstance(value, int | float) and isinstance(wanted, int | float)
        alike = isinstance(value, str | datetime) and type(value) is type(wanted)
        return (numbers or alike) and compare(value, wanted)

    return check


def _like(value: Any, wanted: Any) -> bool:
    """SQL's LIKE: `%` any text, `_` one character."""
    return isinstance(value, str) and _like_pattern(str(wanted)).fullmatch(value) is not None


@lru_cache(maxsize=256)
def _like_pattern(wanted: str) -> re.Pattern[str]:
    parts = {"%": ".*", "_": "."}
    return re.compile("".join(parts.get(char, re.escape(char)) for char in wanted), re.DOTALL)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "neq": lambda value, wanted: not _equal(value, wanted),
    "gt": _ordered(lambda a, b: a > b),
    "gte": _ordered(lambda a, b: a >= b),
    "lt": _ordered(lambda a, b: a < b),
    "lte": _ordered(lambda a, b: a <= b),
    "in": _equal,
    "like": _like,
}
OPERATORS = (*_COMPARISONS, "has", "exists", "search", "and", "or", "not")


def _search(call: Call) -> Test:
    """`search("text")`: name, error, inputs or outputs contain the text; case does not matter."""
    if not call.arguments or not isinstance(call.arguments[-1], str) or len(call.arguments) > 2:
        raise FilterError('search takes a text, as in search("refund")')
    wanted = call.arguments[-1].lower()
    spellings = {wanted.encode("utf-8", "replace"), json.dumps(wanted)[1:-1].encode()}
    keys: tuple[str, ...] = ("name", "error", "inputs", "outputs")
    if len(call.arguments) == 2:
        first = call.arguments[0]
        if not isinstance(first, Field) or first.name not in keys:
            raise FilterError(f"search looks in {', '.join(keys)}")
        keys = (first.name,)

    def test(run: Run, _: Knowledge) -> bool:
        texts = [run.members.get(key, b"").lower() for key in keys]
        return any(spelling in text for spelling in spellings for text in texts)

    return test


def _has(call: Call) -> Test:
    """`has(tags, "x")` and `has(metadata, '{"k": "v"}')`."""
    if len(call.arguments) != 2 or not isinstance(call.arguments[0], Field):
        raise FilterError("has takes tags or metadata, and a text")
    name, wanted = call.arguments[0].name, call.arguments[1]
    if name == "tags":
        return lambda run, _: wanted in run.tags
    if name != "metadata":
        raise FilterError("has takes tags or metadata, and a text")
    try:
        pairs = json.loads(wanted)
    except (ValueError, TypeError) as error:
        raise FilterError("has(metadata, ...) takes a JSON object as text") from error
    if not isinstance(pairs, dict):
        raise FilterError("has(metadata, ...) takes a JSON object as text")
    return lambda run, _: all(
        key in run.metadata and run.metadata[key] == value for key, value in pairs.items()
    )


def _exists(call: Call) -> Test:
    """`exists(error)`, `exists(metadata, "key")`."""
    first = call.arguments[0] if call.arguments else None
    if not isinstance(first, Field) or len(call.arguments) > 2:
        raise FilterError("exists takes a field, and for metadata a key")
    if len(call.arguments) == 2:
        if first.name != "metadata":
            raise FilterError("exists takes a key for metadata only")
        return lambda run, _: call.arguments[1] in run.metadata
    values = _FIELDS[_field(first)]
    return lambda run, knowledge: any(value is not None for value in values(run, knowledge))


# --- what the fields hold

Values = Callable[[Run, Knowledge], Iterable[Any]]
Entries = Callable[[Run, Knowledge], Iterable[Mapping[str, Any]]]


def _leaves(value: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """The scalars of a payload with their dotted keys, and the keys of the objects around them."""
    if path:
        yield {"key": path, "value": value}
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))


def _feedback(run: Run, knowledge: Knowledge) -> Iterator[Mapping[str, Any]]:
    for item in knowledge.feedback_on(run.id):
        source = item.get("feedback_source")
        kind = source.get("type") if isinstance(source, dict) else None
        yield {"key": item.get("key"), "score": item.get("score"), "source": kind, "value": item.get("value")}


_FAMILIES: dict[str, Entries] = {
    "metadata": lambda run, _: _leaves(dict(run.metadata)),
    "input": lambda run, _: _leaves(run.value("inputs")),
    "output": lambda run, _: _leaves(run.value("outputs")),
    "feedback": _feedback,
}


def _one(get: Callable[[Run], Any]) -> Values:
    return lambda run, _: (get(run),)


def _entry_values(family: str, part: str) -> Values:
    return lambda run, knowledge: [entry.get(part) for entry in _FAMILIES[family](run, knowledge)]


_FIELDS: dict[str, Values] = {
    "id": _one(lambda run: run.id),
    "name": _one(lambda run: run.name),
    "run_type": _one(lambda run: run.run_type),
    "status": _one(lambda run: run.status),
    "is_root": _one(lambda run: run.is_root),
    "start_time": _one(lambda run: run.start),
    "end_time": _one(lambda run: run.end),
    "latency": _one(lambda run: run.latency),
    "error": _one(lambda run: run.error or None),
    "tags": lambda run, _: run.tags,
    "tag": lambda run, _: run.tags,
    "total_tokens": lambda run, knowledge: (knowledge.tokens(run),),
    "trace_id": _one(lambda run: run.trace_id),
    "parent_run_id": _one(lambda run: run.parent_id),
    "session_id": _one(lambda run: run.session_id),
    "thread_id": _one(lambda run: run.thread_id),
    "execution_order": _one(lambda _: 1),
    "reference_example_id": _one(lambda run: run.reference_example_id),
    **{
        f"{family}_{part}": _entry_values(family, part)
        for family, parts in {
            "metadata": ("key", "value"),
            "input": ("key", "value"),
            "output": ("key", "value"),
            "feedback": ("key", "score", "source", "value"),
        }.items()
        for part in parts
    },
}
