"""Where archives go: one file of this folder is one kind of target, named after the file.

A target module has `open(argument, settings)`, which gives a `Target`; the text behind the colon of
`LSE_TARGET=directory:/backup` is its argument. Files that begin with `_` are helpers.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from lse.errors import ConfigurationError
from lse.settings import Settings

__all__ = ["Progress", "StoredObject", "Target", "open_target", "require_kind", "target_names"]

Progress = Callable[[int], None]
"""Called with how many bytes of the file have arrived so far; may go back when some must be sent again."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as the target holds it."""

    path: str
    """Folder and name, such as `my-project/2025-09-13.zip`."""
    id: str
    size: int
    """In bytes."""
    md5: str
    """Of the content as stored, in lower-case hexadecimal."""
    properties: Mapping[str, str]
    link: str | None
    """An address for people, when there is one."""


class Target(Protocol):
    """A place that keeps one object per path.

    Every method may raise `TemporaryError` (try again), `AccessError` (a right is missing) and
    `ConfigurationError` (a setting is wrong); `UsageError` when a path is not of the form `folder/name`.
    """

    name: str

    def check(self) -> str:
        """One line that says what was reached; raises when the target cannot be used. Changes nothing."""
        ...

    def put(
        self, path: str, file: Path, properties: Mapping[str, str], progress: Progress | None = None
    ) -> StoredObject:
        """Make `file` the one object at `path`. Content that is already there is not sent again.

        What it replaces stays recoverable. Raises `DifferencesFound` when the target does not hold
        what was sent.
        """
        ...

    def find(self, path: str) -> StoredObject | None:
        """The object at `path`, if there is one."""
        ...

    def get(self, path: str, file: Path, progress: Progress | None = None) -> StoredObject:
        """Write the object at `path` to `file`, which appears only when size and md5 are right.

        Raises `IncompleteError` when there is no object, `DifferencesFound` when its content is damaged.
        """
        ...

    def read(self, path: str, start: int, length: int) -> bytes:
        """At most `length` bytes of the object from offset `start`; fewer at its end.

        Raises `IncompleteError` when there is no object.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects whose path begins with `prefix`, ordered by path within each folder."""
        ...

    def trash(self, path: str) -> None:
        """Take the object at `path` away so that it can be recovered by hand; nothing when there is none."""
        ...

    def close(self) -> None:
        """Let connections go."""
        ...


def target_names() -> list[str]:
    """The kinds of targets there are, such as `["directory", "drive", "s3"]`."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def open_target(spec: str, settings: Settings) -> Target:
    """The target that `spec` names, such as `drive` or `s3:bucket`; nothing is reached before it is used.

    Raises `ConfigurationError` for an unknown kind or a setting that does not fit.
    """
    kind, _, argument = spec.partition(":")
    require_kind(spec)
    module = import_module(f"{__name__}.{kind}")
    return cast(Target, module.open(argument, settings))


def require_kind(spec: str) -> None:
    """Raise `ConfigurationError` when there is no target of the kind that `spec` names."""
    kind = spec.partition(":")[0]
    if kind not in target_names():
        raise ConfigurationError(
            f"There is no target {kind!r}; there are: {', '.join(target_names())}.",
            hint="Set LSE_TARGET to `drive`, `s3:bucket/prefix` or `directory:/path`.",
        )
