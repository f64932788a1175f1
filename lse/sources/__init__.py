"""Where runs come from. One file of this folder is one source."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from lse.archive.links import Link
from lse.models import StoredFile
from lse.settings import Settings

if TYPE_CHECKING:
    from lse.langsmith.http import Rates


@dataclass(frozen=True, slots=True)
class Project:
    """A project at the source."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Window:
    """The traces of one project whose root run started in `[start, end)`, UTC."""

    project: Project
    start: datetime
    end: datetime
    runs_from: datetime | None = None
    """Of these traces, only the runs that started then or later"""
    runs_until: datetime | None = None
    """Of these traces, only the runs that started before then"""
    whole_traces: bool = True
    """False: the runs that started in `[start, end)` themselves, whatever trace they belong to"""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a walk: exact run texts, and the cursor of the next page or None at the end."""

    texts: tuple[bytes, ...]
    cursor: str | None
    doubtful: bool = False
    """Whether this end looks like a cut: a full page without a cursor. Only a count proves it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The source's own figures for a window."""

    runs: int
    traces: int
    feedback: int | None = None
    """Records of feedback on these runs, where the source counts them"""


@dataclass(frozen=True, slots=True)
class Cost:
    """The most requests that a fetch of a window takes when nothing fails."""

    pages: int
    counts: int
    feedback: int
    """If every run had feedback"""
    seconds: float
    """All of them at the allowed rates"""


class Source(Protocol):
    """What a fetch needs of a source. Every call has a deadline and retries by itself."""

    @property
    def walk_name(self) -> str:
        """Names what pages and cursors mean; a spool written under another name is not continued."""

    @property
    def waited(self) -> float:
        """Seconds spent so far waiting until the source's rates allowed the next request."""

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""

    def check(self) -> str:
        """One line saying what was reached. Raises `LseError` when the source cannot be used."""

    def projects(self) -> Iterator[Project]:
        """All projects, by name."""

    def project(self, name: str) -> Project:
        """The project called `name`. Raises `UsageError`, naming similar ones, when there is none."""

    def page(self, window: Window, cursor: str | None) -> Page:
        """The page after `cursor`, of every run of every trace in the window."""

    def counts(self, window: Window) -> Counts | None:
        """The source's own count, or None when it cannot count."""

    def count_runs(self, window: Window) -> int | None:
        """How many runs the source counts in the window, or None when it cannot count."""

    def existing(self, project: Project, run_ids: Collection[UUID]) -> set[UUID]:
        """Those of `run_ids` that the source has."""

    def cost(self, window: Window, counts: Counts, lanes: int) -> Cost:
        """What fetching `counts` takes, walked in so many parts; asks nothing."""

    def first_expiry(self, window: Window) -> datetime | None:
        """When the source deletes the first of the window's first traces; None where it does not say."""

    def feedback(self, run_ids: Iterable[str]) -> Iterator[bytes]:
        """The exact text of every feedback record on these runs."""

    def download(self, project: Project, link: Link, folder: Path) -> StoredFile | None:
        """Store the linked content in `folder`, under the name of its hash; a link may have expired.

        None, with a warning, when it cannot be had at all: too large, gone, or at a forbidden address.
        """

    def close(self) -> None:
        """Release connections."""


def open_source(
    settings: Settings, rates: "Rates | None" = None, *, call_seconds: float | None = None
) -> Source:
    """The source the settings name, LangSmith, asked at `rates` that others may keep to as well.

    With `call_seconds`, a call gives up that soon, and makes nobody else wait because it did.
    """
    from lse.sources import langsmith  # importing the SDK takes most of a second

    return langsmith.open(settings, rates, call_seconds)
