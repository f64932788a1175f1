"""Which copies of a project day were taken away on purpose, kept beside the day's folder.

Without it, a copy that was pruned would look like one that was lost.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lse.archive.files import remove_stale, write_atomically
from lse.archive.layout import day_folder
from lse.archive.manifest import content_sha256_of
from lse.errors import ConfigurationError
from lse.models import ProjectDay


@dataclass(frozen=True, slots=True)
class PruneRecord:
    """What was pruned of one content of a day; a fetch that brings other content makes it void."""

    content_sha256: str
    """Of the archive that was pruned, as in its manifest"""
    runs: int
    traces: int
    pruned_at: Mapping[str, str]
    """The copies, `files`, `zip`, `target` → when each was taken away, ISO 8601, UTC"""


def write_prune_record(data_dir: Path, day: ProjectDay, record: PruneRecord) -> None:
    """Keep `record` of `day`."""
    path = _path(day_folder(data_dir, day))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_stale(path)
    write_atomically(path, json.dumps(asdict(record), indent=2).encode() + b"\n")


def read_prune_record(data_dir: Path, day: ProjectDay) -> PruneRecord | None:
    """The record of `day`; None when nothing of it was pruned."""
    return _read(_path(day_folder(data_dir, day)))


def lacks_pruned_files(folder: Path) -> bool:
    """Whether trace files of a day's folder were pruned and are not there again."""
    record = _read(_path(folder))
    return (
        record is not None
        and "files" in record.pruned_at
        and record.content_sha256 != content_sha256_of(folder)
    )


def _read(path: Path) -> PruneRecord | None:
    try:
        return PruneRecord(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read.",
            hint="Remove it; what was pruned is then missed by `lse archive verify`.",
        ) from error


def forget_pruned(data_dir: Path, day: ProjectDay, copy: str) -> None:
    """Take out of the record of `day` that `copy` was pruned, because it is there again."""
    record = read_prune_record(data_dir, day)
    if record is None or copy not in record.pruned_at:
        return
    left = {name: time for name, time in record.pruned_at.items() if name != copy}
    if left:
        write_prune_record(
            data_dir, day, PruneRecord(record.content_sha256, record.runs, record.traces, left)
        )
    else:
        _path(day_folder(data_dir, day)).unlink()


def _path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.pruned.json")
