"""`drill`: restore archives chosen at random into a scratch place, and prove that they are what is live.

An archive that was never restored is a hope. The scratch folder and the scratch schema are gone afterwards.
"""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from lse.archive.files import append_line, whole_lines
from lse.archive.layout import archived_files
from lse.archive.manifest import content_sha256_of
from lse.archive.reading import read_folder
from lse.archive.restore import restore_zip
from lse.archive.trace_file import DamagedArchive
from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError, UsageError
from lse.models import ProjectDay, count_entries
from lse.pipeline.common import counted
from lse.pipeline.copies import read_records
from lse.pipeline.listing import list_days
from lse.pipeline.target_copy import bring, find_copy
from lse.resources import Resources
from lse.store import Store
from lse.store.scratch import scratch_schema

_RECORD = "drills.jsonl"


@dataclass(frozen=True, slots=True)
class Drilled:
    """One archive that was restored."""

    project: str
    date: str
    source: str
    """Where it came from: `target` or `zip`"""
    runs: int
    problems: tuple[str, ...]
    """What is not as it should be"""


@dataclass(frozen=True, slots=True)
class Drill:
    """The outcome of one drill."""

    time: datetime
    seed: int
    days: tuple[Drilled, ...]

    @property
    def sound(self) -> bool:
        """Whether every archive came back as it should."""
        return not any(day.problems for day in self.days)


def drill(
    resources: Resources,
    number: int,
    seed: int | None = None,
    tell: Callable[[Drilled], None] = lambda each: None,  # noqa: ARG005
) -> Drill:
    """Restore `number` archived days, chosen by `seed`, from the target, or from zips where none is set.

    Each file is checked against the manifest, the content against the records of its fetch, and the rows that
    a load makes of it in a scratch schema against those of the live store. The outcome is recorded, and
    `last_drill` gives it. Raises `UsageError` when nothing is archived.
    """
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    with_target = resources.settings.target is not None
    listed = list_days(resources, ask_target=with_target)
    there = [each.day for each in listed if (each.target_bytes if with_target else each.zip_bytes)]
    if not there:
        raise UsageError("There is no archive to restore.", hint="Pack and upload a day first.")
    chosen = random.Random(seed).sample(sorted(there), min(number, len(there)))  # noqa: S311 - a choice
    days = []
    with scratch_schema(resources.database_url) as url:
        for day in chosen:
            days.append(_drilled(resources, day, Store(url)))
            tell(days[-1])
    done = Drill(resources.now(), seed, tuple(days))
    _record(resources.settings.state_dir, done)
    return done


def last_drill(state_dir: Path) -> Drill | None:
    """The last drill on this machine; None when there was none."""
    lines = whole_lines(state_dir / _RECORD)
    if not lines:
        return None
    document = json.loads(lines[-1])
    days = (Drilled(**{**day, "problems": tuple(day["problems"])}) for day in document["days"])
    return Drill(datetime.fromisoformat(document["time"]), document["seed"], tuple(days))


def _drilled(resources: Resources, day: ProjectDay, scratch: Store) -> Drilled:
    source = "target" if resources.settings.target else "zip"
    with resources.scratch() as folder:
        try:
            with _archive_of(resources, day, folder) as path:
                manifest, _ = restore_zip(path, folder / "restored", day, force=False)
        except (AccessError, ConfigurationError, TemporaryError):
            raise  # says nothing about the archive
        except LseError as error:
            return Drilled(day.project, str(day.day), source, 0, (error.message,))
        problems = [*_wrong_files(resources, day, folder / "restored", manifest.content_sha256)]
        runs, wrong_rows = _load_and_compare(resources, day, folder / "restored", scratch)
    return Drilled(day.project, str(day.day), source, runs, tuple(problems + wrong_rows))


@contextmanager
def _archive_of(resources: Resources, day: ProjectDay, folder: Path) -> Iterator[Path]:
    """The zip of `day`, brought into `folder` from the target where one is set."""
    if resources.settings.target is None:
        yield resources.zip_path(day)
        return
    stored = find_copy(resources, day)
    if stored is None:
        raise DamagedArchive(f"The target holds no archive of {day} any more.")
    bring(resources, stored, folder / "archive.zip")
    yield folder / "archive.zip"


def _wrong_files(resources: Resources, day: ProjectDay, restored: Path, promised: str) -> Iterator[str]:
    """Where the restored files differ from the manifest, from the last fetch, or from those here."""
    found = content_sha256_of(restored)
    if found != promised:
        yield "the restored files are not those of the manifest"
    if read_records(resources, day).content_sha256 not in (None, found):
        yield "the archive does not hold what the last fetch left"
    live = resources.folder(day)
    if archived_files(live) and content_sha256_of(live) != found:
        yield "the trace files here are others"


def _load_and_compare(
    resources: Resources, day: ProjectDay, restored: Path, scratch: Store
) -> tuple[int, list[str]]:
    """How many runs a load made of the restored files, and where the live store has other rows."""
    reader = read_folder(restored)
    scratch.load(day, reader.traces(), unplaced=reader.unplaced())
    with scratch.run_entries(day) as entries:
        made = dict(entries)
    runs = sum(map(count_entries, made.values()))
    live = resources.store.count_rows(day)
    if not live["runs"]:
        return runs, []
    problems = []
    with resources.store.run_entries(day) as entries:
        differing = sum(made.pop(trace_id, None) != runs for trace_id, runs in entries)
    if differing:
        problems.append(f"the live store has other rows of {counted(differing, 'trace')}")
    if made:
        problems.append(f"the live store lacks {counted(len(made), 'trace')}")
    if scratch.feedback_entries(day) != resources.store.feedback_entries(day):
        problems.append("the live store has other feedback")
    return runs, problems


def _record(state_dir: Path, done: Drill) -> None:
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    document = {"time": done.time.isoformat(), "seed": done.seed, "days": list(map(asdict, done.days))}
    append_line(state_dir / _RECORD, json.dumps(document).encode())
