"""Examples in files, and the keys by which they are recognised."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from lse.datasets import Example
from lse.datasets._hashing import canonical, sha256
from lse.errors import UsageError

_NAMESPACE = UUID("7d0f6a52-0d7c-5b4e-9a1e-2f6a3c1b8e44")
"""Of the ids of examples; any fixed id does."""


def read_examples(path: Path) -> dict[str, Example]:
    """The examples of the file at `path`, by key, in its order.

    The file is LangSmith's JSONL, a JSON list of examples, or a JSON object with `examples`. Raises
    `UsageError`, naming the place, for anything else and for two examples of one key.
    """
    found: dict[str, Example] = {}
    for place, document in _documents(path):
        example = _example(document, path, place)
        key = key_of(example)
        if key in found:
            raise UsageError(f"{path}, {place}: the example is there twice.", hint="Take one of them out.")
        found[key] = example
    if not found:
        raise UsageError(f"{path} holds no example.")
    return found


def name_in(path: Path) -> str:
    """What the dataset at `path` is called: as the file says, when it is one object; else as the file is."""
    try:
        document = json.loads(_text(path))
    except ValueError:
        return path.stem
    name = document.get("name") if isinstance(document, dict) and "examples" in document else None
    return name if isinstance(name, str) and name else path.stem


def key_of(example: Example) -> str:
    """What makes an example itself: its trace, or its inputs when it says no trace.

    Labels are not part of it, so an example that is labelled anew is the same example with other outputs.
    """
    trace_id = example.metadata.get("trace_id")
    return trace_id if isinstance(trace_id, str) else f"inputs:{sha256(canonical(example.inputs))}"


def example_id(dataset: str, key: str) -> UUID:
    """The id of an example in LangSmith: always the same for the same dataset name and key (RFC 9562, v5)."""
    return uuid5(_NAMESPACE, f"{dataset}\n{key}")


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    text = _text(path)
    whole = _whole(text)
    if whole is not None:
        for number, document in enumerate(whole, 1):
            yield f"example {number}", document
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except ValueError:
                raise _unreadable(path, f"line {number} is no JSON") from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")  # editors of Windows begin files with a mark
    except UnicodeDecodeError:
        raise _unreadable(path, "it is no UTF-8 text") from None


def _whole(text: str) -> list[Any] | None:
    """The examples when the text is one JSON document that holds them; None when it is one line for each."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if isinstance(document, dict):
        document = document.get("examples")
    return document if isinstance(document, list) else None


def _example(document: Any, path: Path, place: str) -> Example:
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), dict):
        raise _unreadable(path, f"{place} has no inputs")
    outputs, metadata = document.get("outputs") or {}, document.get("metadata") or {}
    if not isinstance(outputs, Mapping) or not isinstance(metadata, Mapping):
        raise _unreadable(path, f"{place} has outputs or metadata that are no object")
    return Example(document["inputs"], dict(outputs), dict(metadata))


def _unreadable(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is no dataset: {reason}.",
        hint="Give a file that `lse eval create-dataset` wrote in the langsmith format.",
    )
