"""What was built: each dataset under its name and hash, with a record of where it is from.

`<archive_dir>/datasets/<name>/<hash>.jsonl` holds the examples, `<hash>.json` the record. A build of the same
content is the same file.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lse.archive.files import atomic_file, write_atomically
from lse.archive.layout import project_slug
from lse.datasets import Example
from lse.datasets._building import summary_lines
from lse.errors import UsageError

_SHOWN_HASH = 12


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """One dataset that was built. Dates are UTC days, both included."""

    name: str
    recipe: str
    recipe_sha256: str
    project: str
    start: str
    end: str
    content_sha256: str
    """Of the examples as LangSmith's JSONL, in hexadecimal."""
    examples: int
    considered: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    split: Mapping[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> list[str]:
        """What became of the traces, for people."""
        return summary_lines(self.considered, self.examples, self.dropped, self.split)

    @property
    def id(self) -> str:
        """`name@0123456789ab`: the name and the begin of the hash."""
        return f"{self.name}@{self.content_sha256[:_SHOWN_HASH]}"


@dataclass(frozen=True)
class Build:
    """A build on disk."""

    record: BuildRecord
    path: Path
    """Its examples."""
    built_at: float
    """When it was last built, in seconds since 1970."""


@dataclass(frozen=True)
class Differences:
    """What another dataset has that one has not, by the trace or other key of the examples."""

    added: list[str]
    removed: list[str]
    changed: dict[str, list[str]]
    """With the fields that differ, such as `outputs.is_meme`; another window alone is no difference."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def keep(folder: Path, record: BuildRecord, lines: Iterable[bytes]) -> Path:
    """Keep a build below `folder`; the file with its examples."""
    place = folder / project_slug(record.name)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / f"{record.content_sha256}.jsonl"
    if not path.exists():
        with atomic_file(path) as file:
            file.writelines(lines)
    document = json.dumps(asdict(record), indent=2, sort_keys=True) + "\n"
    write_atomically(path.with_suffix(".json"), document.encode())
    return path


def builds(folder: Path) -> list[Build]:
    """Every build below `folder`, by name, the latest first."""
    found = [_read(path) for path in folder.glob("*/*.json") if path.with_suffix(".jsonl").exists()]
    return sorted(found, key=lambda build: (build.record.name, -build.built_at, build.record.id))


def find_build(folder: Path, wanted: str) -> Build:
    """The build that `name` (its latest) or `name@hash` means. Raises `UsageError` when there is none."""
    name, _, digest = wanted.rpartition("@") if "@" in wanted else (wanted, "", "")
    found = [
        build
        for build in builds(folder)
        if build.record.name == name and build.record.content_sha256.startswith(digest)
    ]
    if not found:
        raise UsageError(
            f"No dataset {wanted!r} was built here.", hint="`lse eval list` shows those there are."
        )
    return found[0]


def differences(one: Mapping[str, Example], other: Mapping[str, Example]) -> Differences:
    """What became of the examples of `one` in `other`, both by key."""
    changed = {key: _changed(one[key], other[key]) for key in sorted(one.keys() & other.keys())}
    return Differences(
        added=sorted(other.keys() - one.keys()),
        removed=sorted(one.keys() - other.keys()),
        changed={key: names for key, names in changed.items() if names},
    )


def _changed(one: Example, other: Example) -> list[str]:
    """The fields in which two examples of one key differ."""
    first, second = _fields(one), _fields(other)
    names = sorted(first.keys() | second.keys())
    return [name for name in names if name not in first or name not in second or first[name] != second[name]]


def _fields(example: Example) -> dict[str, Any]:
    """Each value under its name; without the window, which a rolling dataset changes for every example."""
    parts = example.document().items()
    fields = {f"{part}.{name}": value for part, values in parts for name, value in values.items()}
    fields.pop("metadata.window", None)
    return fields


def _read(path: Path) -> Build:
    record = BuildRecord(**json.loads(path.read_text("utf-8")))
    return Build(record, path.with_suffix(".jsonl"), path.stat().st_mtime)
