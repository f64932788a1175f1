"""A dataset as a file: LangSmith's JSONL, conversations, a table of values, or Parquet."""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from lse.archive.files import output_file
from lse.datasets import Chat
from lse.datasets._hashing import canonical, exact
from lse.errors import ConfigurationError, UsageError
from lse.formats import Cell, Table
from lse.formats.csv import render

_AT_ONCE = 1_000
"""Rows that are turned into a block of a table at a time."""

_SUFFIXES = {".csv": "csv", ".parquet": "parquet"}

Lines = Iterable[bytes]


def form_of(path: Path, form: str | None) -> str:
    """The form in which `path` is written: `form`, else as its name ends, else LangSmith's JSONL.

    Raises `UsageError` for a form that there is not.
    """
    chosen = form or _SUFFIXES.get(path.suffix.lower(), "langsmith")
    if chosen not in FORMS:
        raise UsageError(f"There is no format {chosen!r} of datasets.", hint=f"Formats: {', '.join(FORMS)}.")
    return chosen


def write(path: Path, lines: Lines, form: str, chat: Chat) -> None:
    """Write the examples of `lines` where the user said; see `output_file`.

    Raises `ConfigurationError` when Parquet is asked for and its package is not installed.
    """
    with output_file(path) as file:
        FORMS[form](file, lines, chat)


def _langsmith(file: IO[bytes], lines: Lines, chat: Chat) -> None:  # noqa: ARG001 - one form of all
    file.writelines(lines)


def _chat(file: IO[bytes], lines: Lines, chat: Chat) -> None:
    for line in lines:
        file.write(canonical({"messages": list(_messages(exact(line), chat))}) + b"\n")


def _messages(example: Mapping[str, Any], chat: Chat) -> Iterator[Mapping[str, Any]]:
    """The conversation that an example is: system, what is asked, and what should be answered."""
    if chat.system:
        yield {"role": "system", "content": chat.system}
    yield from _said("user", example["inputs"], chat.user)
    yield from _said("assistant", example["outputs"], chat.assistant)


def _said(role: str, values: Mapping[str, Any], name: str | None) -> Iterator[Mapping[str, Any]]:
    value = values.get(name) if name else next(iter(values.values())) if len(values) == 1 else values
    if isinstance(value, list) and value and all(isinstance(item, dict) and "role" in item for item in value):
        yield from value
    else:
        text = value if isinstance(value, str) else canonical(value).decode()
        yield {"role": role, "content": text}


def _csv(file: IO[bytes], lines: Lines, chat: Chat) -> None:  # noqa: ARG001
    header = ""
    for rows in _blocks(lines):
        columns = tuple(rows[0])
        text = render(Table(columns, [[_cell(row[name]) for name in columns] for row in rows]))
        file.write(text.removeprefix(header).encode())
        header = render(Table(columns, []))


def _parquet(file: IO[bytes], lines: Lines, chat: Chat) -> None:  # noqa: ARG001
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigurationError(
            "Parquet needs the package pyarrow.", hint="Install lse with its extra: lse[parquet]."
        ) from None
    rows = [row for block in _blocks(lines) for row in block]
    columns = {name: _column([row[name] for row in rows]) for name in rows[0]}
    parquet.write_table(arrow.table(columns), file)


def _blocks(lines: Lines) -> Iterator[list[dict[str, Any]]]:
    """Rows of equal columns: each input and output under its name, the metadata as JSON."""
    rows: list[dict[str, Any]] = []
    for line in lines:
        rows.append(_row(exact(line)))
        if len(rows) == _AT_ONCE:
            yield rows
            rows = []
    if rows:
        yield rows


def _row(example: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        f"{part}.{name}": value for part in ("inputs", "outputs") for name, value in example[part].items()
    }
    return {**parts, "metadata": canonical(example["metadata"]).decode()}


def _cell(value: Any) -> Cell:
    """Booleans and whatever a table has no kind for as JSON."""
    if value is None or (isinstance(value, str | int | Decimal) and not isinstance(value, bool)):
        return value
    return canonical(value).decode()


def _column(values: Sequence[Any]) -> list[Any]:
    """`values` of one kind; mixed ones, and those with parts, all as JSON."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, Decimal} and all(isinstance(value, Decimal) or _fits(value) for value in values):
        return (
            [None if value is None else float(value) for value in values]
            if Decimal in kinds
            else list(values)
        )
    if len(kinds) <= 1 and not kinds & {dict, list, int}:
        return list(values)
    return [None if value is None else canonical(value).decode() for value in values]


def _fits(value: int | None) -> bool:
    """Whether a 64-bit integer holds it."""
    return value is None or -(2**63) <= value < 2**63


FORMS: Mapping[str, Callable[[IO[bytes], Lines, Chat], None]] = {
    "langsmith": _langsmith,
    "chat": _chat,
    "csv": _csv,
    "parquet": _parquet,
}
"""How a dataset can be written, by the name typed on the command line."""
