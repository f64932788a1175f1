"""Paths to values in JSON documents: `inputs.messages[-1].content`, `*` for any one member."""

import functools
import re
from collections.abc import Sequence
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


@functools.lru_cache(maxsize=1_000)
def parse_paths(texts: tuple[str, ...]) -> tuple[Path, ...]:
    """The steps of each of `texts`; raises as `parse_path` does."""
    return tuple(map(parse_path, texts))


def _step(found: re.Match[str]) -> Step:
    if found["at"] is not None:
        return int(found["at"])
    if found["any"]:
        return None
    return found["key"] if found["key"] is not None else found["quoted"]


def values_at(document: Any, path: Path) -> Sequence[Any]:
    """Every value that `path` leads to, without nulls; members that `*` stands for in order of their keys."""
    for position, step in enumerate(path):
        if step is None:
            rest = path[position + 1 :]
            return [value for member in _members(document) for value in values_at(member, rest)]
        if isinstance(document, dict):
            document = document.get(step if isinstance(step, str) else str(step))
        else:
            document = _item(document, step)
        if document is None:
            return ()
    return () if document is None else (document,)


def value_at(document: Any, path: Path) -> Any:
    """The first value that `path` leads to; None when there is none."""
    return next(iter(values_at(document, path)), None)


def _item(document: Any, step: str | int) -> Any:
    """The item of a list at a position; None when it is no list, or no position in it."""
    if isinstance(document, list) and isinstance(step, int) and -len(document) <= step < len(document):
        return document[step]
    return None


def _members(document: Any) -> list[Any]:
    if isinstance(document, dict):
        return [document[key] for key in sorted(document)]
    return document if isinstance(document, list) else []
