"""An unfinished fetch on disk: every page is durable before the next one is asked for.

A spool is a folder with `runs.jsonl`, one exact run text per line, and `position.json`, which says how
many bytes of it count and which cursor comes next. After a crash, bytes past the position are cut off.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from lse.archive.files import write_atomically


@dataclass(frozen=True, slots=True)
class Position:
    """How far a walk has come."""

    walk: str
    """What is walked: API, project and window. Another walk starts over."""
    began: str
    """When the first page was asked for, ISO 8601, UTC."""
    cursor: str | None = None
    size: int = 0
    """Bytes of `runs.jsonl` that count."""
    pages: int = 0
    runs: int = 0
    ends: tuple[int, ...] = ()
    """The size at the end of each finished walk."""


class Spool:
    """The runs fetched so far for one project day."""

    def __init__(self, folder: Path, walk: str, now: datetime) -> None:
        """Open the spool in `folder`, or begin one `now`; a spool of another walk is discarded."""
        self._folder = folder
        self._texts = folder / "runs.jsonl"
        self._saved = folder / "position.json"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fresh = Position(walk, now.isoformat(timespec="seconds"))
        self.position = self._read_position() or self._fresh
        self._texts.touch(mode=0o600)
        os.truncate(self._texts, self.position.size)

    def add_page(self, texts: Iterable[bytes], cursor: str | None) -> None:
        """Append one page; without a cursor the walk has reached its end."""
        before = self.position
        lines = [text + b"\n" for text in texts]
        size = before.size + sum(map(len, lines))
        with self._texts.open("ab") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        self._move(
            Position(
                walk=before.walk,
                began=before.began,
                cursor=cursor,
                size=size,
                pages=before.pages + 1,
                runs=before.runs + len(lines),
                ends=before.ends if cursor else (*before.ends, size),
            )
        )

    def texts(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The texts between two offsets, each with its offset, in the order fetched."""
        offset = begin
        with self._texts.open("rb") as file:
            file.seek(begin)
            for line in file:
                if end is not None and offset >= end:
                    return
                yield offset, line[:-1]
                offset += len(line)

    def read(self, offsets: Iterable[int]) -> Iterator[bytes]:
        """The texts at `offsets`."""
        with self._texts.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                yield file.readline()[:-1]

    def start_over(self) -> None:
        """Forget every page."""
        self._move(self._fresh)
        os.truncate(self._texts, 0)

    def discard(self) -> None:
        """Remove the spool: its runs are in trace files now."""
        shutil.rmtree(self._folder)

    def _read_position(self) -> Position | None:
        """The saved position, unless it is another walk's, in another form, or the texts are gone."""
        try:
            saved = json.loads(self._saved.read_bytes())
            position = Position(**{**saved, "ends": tuple(saved["ends"])})
            whole = self._texts.stat().st_size >= position.size
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return position if whole and position.walk == self._fresh.walk else None

    def _move(self, position: Position) -> None:
        write_atomically(self._saved, json.dumps(asdict(position)).encode())
        self.position = position
