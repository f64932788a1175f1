"""Paths to values in JSON documents: `inputs.messages[-1].content`, `*` for any one member."""

import functools
import re
from collections.abc import Iterator
from typing import Any

from lse.errors import UsageError

Step = str | int | None
"""A key, a position, or None for any one member."""

Path = tuple[Step, ...]

_STEP = re.compile(r"""\.?(?:(?P<any>\*)|(?P<key>[^.\[\]"*]+)|\[(?P<at>-?\d+)\]|\["(?P<quoted>[^"]*)"\])""")


@functools.lru_cache(maxsize=1_000)
def parse_path(text: str) -> Path:
    """The steps of `text`; a leading `$.` may be left out. Raises `UsageError` when it is no path."""
    rest = text.removeprefix("$").removeprefix(".")
    steps: list[Step] = []
    position = 0
    while found := _STEP.match(rest, position):
        position = found.end()
        steps.append(_step(found))
    if not steps or position != len(rest):
        raise UsageError(f"{text!r} is not a path.", hint='Write it as inputs.messages[-1]["odd.key"].text.')
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["at"] is not None:
        return int(found["at"])
    if found["any"]:
        return None
    return found["key"] if found["key"] is not None else found["quoted"]


def values_at(document: Any, path: Path) -> Iterator[Any]:
    """Every value that `path` leads to, without nulls; members that `*` stands for in order of their keys."""
    if not path:
        if document is not None:
            yield document
        return
    step, rest = path[0], path[1:]
    for member in _members(document, step):
        yield from values_at(member, rest)


def value_at(document: Any, path: Path) -> Any:
    """The first value that `path` leads to; None when there is none."""
    return next(values_at(document, path), None)


def _members(document: Any, step: Step) -> Iterator[Any]:
    if isinstance(document, dict):
        if step is None:
            yield from (document[key] for key in sorted(document))
        elif str(step) in document:
            yield document[str(step)]
    elif isinstance(document, list):
        if step is None:
            yield from document
        elif isinstance(step, int) and -len(document) <= step < len(document):
            yield document[step]
