"""Read a day's archive, from its folder or its zip, the same way."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from msgspec import structs

from lse.archive.files import blocks_of, lines_of
from lse.archive.layout import UNPLACED, archived_names, content_file_name, trace_of_file
from lse.archive.links import ATTACHMENT, fill_in
from lse.archive.trace_file import read_trace
from lse.archive.zip import open_zip
from lse.models import Trace


@dataclass(frozen=True, slots=True)
class DayReader:
    """The files of one day's archive, by name."""

    names: tuple[str, ...]
    blocks: Callable[[str], Iterator[bytes]]
    """The content of the file with this name, in blocks. Raises `DamagedArchive`."""
    content_sha256: str | None = None
    """Of all the files, where a manifest says it."""

    def traces(self) -> Iterator[Trace]:
        """Every trace, by file name; payloads that stand in files of their own are in `RawRun.resolved`."""
        for name in self.names:
            if trace_of_file(name):
                yield self._resolved(read_trace(lines_of(self.blocks(name)), name))

    def unplaced(self) -> list[bytes]:
        """The runs that name no trace."""
        lines = lines_of(self.blocks(UNPLACED)) if UNPLACED in self.names else ()
        return [line.rstrip(b"\n") for line in lines]

    def _resolved(self, trace: Trace) -> Trace:
        payloads: dict[UUID, dict[str, bytes]] = defaultdict(dict)
        for file in trace.files:
            name = content_file_name(file.sha256)
            if not file.name.startswith(ATTACHMENT) and name in self.names:
                payloads[file.run_id][file.name] = b"".join(self.blocks(name))
        if not payloads:
            return trace
        runs = [
            structs.replace(run, resolved=fill_in(run.text, payloads[run.id])) if run.id in payloads else run
            for run in trace.runs
        ]
        return replace(trace, runs=tuple(runs))


def read_folder(folder: Path) -> DayReader:
    """The archive in a day's folder; without names when there is none."""
    return DayReader(tuple(archived_names(folder)), lambda name: blocks_of(folder / name))


@contextmanager
def open_day(folder: Path, zip_path: Path) -> Iterator[DayReader]:
    """The archive in the folder, or in the zip where the folder holds none. Raises `DamagedArchive`."""
    in_folder = read_folder(folder)
    if in_folder.names:
        yield in_folder
        return
    with open_zip(zip_path) as archive:
        entries = {entry.path: entry for entry in archive.manifest.files}
        content = archive.manifest.content_sha256
        yield DayReader(tuple(entries), lambda name: archive.blocks(entries[name]), content)
