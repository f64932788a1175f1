"""An unfinished fetch on disk: every page is durable before the next one is asked for.

A spool is a folder with `runs.jsonl`, one exact run text per line, and `position.json`, which says how
many bytes of it count and which cursor comes next. After a crash, bytes past the position are cut off.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import Lock

from lse.archive.files import write_atomically


@dataclass(frozen=True, slots=True)
class Lane:
    """How far one part of a walk has come: the cursor of its next page, and whether it reached its end."""

    cursor: str | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """How far a walk has come."""

    walk: str
    """What is walked: API, project and window. Another walk starts over."""
    began: str
    """When the first page was asked for, ISO 8601, UTC."""
    lanes: tuple[Lane, ...] = (Lane(),)
    """Parts of the window that are walked side by side."""
    size: int = 0
    """Bytes of `runs.jsonl` that count."""
    pages: int = 0
    runs: int = 0
    doubtful: bool = False
    """Whether a lane ended in a way that only the server's count can prove."""
    ends: tuple[int, ...] = ()
    """The size at the end of each finished walk."""


class Spool:
    """The runs fetched so far for one project day. Its lanes may be filled by threads side by side."""

    def __init__(self, folder: Path, walk: str, now: datetime, lanes: int = 1) -> None:
        """Open the spool in `folder` with the lanes it has, or begin one `now`, also over another walk's."""
        self._folder = folder
        self._texts = folder / "runs.jsonl"
        self._saved = folder / "position.json"
        self._lock = Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fresh = Position(walk, now.isoformat(timespec="seconds"), (Lane(),) * lanes)
        self.position = self._read_position() or self._fresh
        self._texts.touch(mode=0o600)
        os.truncate(self._texts, self.position.size)

    def add_page(
        self, texts: Iterable[bytes], cursor: str | None, lane: int = 0, *, doubtful: bool = False
    ) -> None:
        """Append one page of a lane; without a cursor the lane, and with the last lane the walk, is done."""
        lines = [text + b"\n" for text in texts]
        with self._lock:
            self._append(lines)
            after = self._after(lines, Lane(cursor, done=cursor is None), lane)
            self._move(replace(after, doubtful=after.doubtful or doubtful))

    def add_walk(self, texts: Iterable[bytes]) -> None:
        """Append texts that came otherwise than by pages, as a finished walk of their own."""
        with self._lock:
            size = self._append([text + b"\n" for text in texts])
            self._move(replace(self.position, size=size, ends=(*self.position.ends, size)))

    def skip(self, lane: int) -> None:
        """Count a lane as walked to its end without asking for a page."""
        with self._lock:
            self._move(replace(self._after([], Lane(done=True), lane), pages=self.position.pages))

    def restart(self, lane: int) -> None:
        """Let a lane begin again at its first page; what it gave is kept."""
        with self._lock:
            self._move(replace(self.position, lanes=self._lanes_with(Lane(), lane)))

    def _append(self, lines: list[bytes]) -> int:
        """Make `lines` durable; the size after them."""
        with self._texts.open("ab") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def _after(self, lines: list[bytes], state: Lane, lane: int) -> Position:
        before, lanes = self.position, self._lanes_with(state, lane)
        size = before.size + sum(map(len, lines))
        ended = all(each.done for each in lanes)
        return replace(
            before,
            lanes=(Lane(),) * len(lanes) if ended else lanes,
            size=size,
            pages=before.pages + 1,
            runs=before.runs + len(lines),
            ends=(*before.ends, size) if ended else before.ends,
        )

    def _lanes_with(self, state: Lane, lane: int) -> tuple[Lane, ...]:
        lanes = self.position.lanes
        return (*lanes[:lane], state, *lanes[lane + 1 :])

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

    def discard(self) -> None:
        """Remove the spool: its runs are in trace files now."""
        remove_spool(self._folder)

    def _read_position(self) -> Position | None:
        """The saved position, unless it is another walk's, in another form, or the texts are gone."""
        try:
            saved = json.loads(self._saved.read_bytes())
            lanes = tuple(Lane(**lane) for lane in saved["lanes"])
            position = Position(**{**saved, "ends": tuple(saved["ends"]), "lanes": lanes})
            whole = self._texts.stat().st_size >= position.size
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return position if whole and position.walk == self._fresh.walk else None

    def _move(self, position: Position) -> None:
        write_atomically(self._saved, json.dumps(asdict(position)).encode())
        self.position = position


def remove_spool(folder: Path) -> None:
    """Remove a spool, or what a process left of one that was killed while it removed it."""
    if folder.exists():
        shutil.rmtree(folder)
