"""How fast a day is packed, read, restored and uploaded, against floors measured in the same run.

python -m bench.archive [--runs RUNS] [--traces TRACES] [--repeats REPEATS]

Two days: one of 9 kB a run, made of words at random, and one of the sample application. The floors work on
the same bytes: DEFLATE by the same codec on all cores with nothing else done, and each file written and
flushed to disk, one after the other. What packing costs is told by processor time too, which other work on
the machine disturbs less than the wall clock.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TypeVar

from bench import data
from bench.measure import peak_memory, seconds_of
from lse.archive.files import blocks_of, lines_of
from lse.archive.layout import archived_files, is_trace_file
from lse.archive.restore import restore_zip
from lse.archive.trace_file import count_texts, write_trace
from lse.archive.zip import open_zip, packed_zip
from lse.archive.zip.deflate import LEVEL, codec
from lse.models import ProjectDay
from lse.pipeline import fetch
from lse.resources import Resources
from lse.sandbox.drive import DriveServer
from lse.sandbox.langsmith import LangSmithServer
from lse.sandbox.sample import write_sample
from lse.settings import load_settings

_DAY = ProjectDay("bench", date(2025, 9, 13))
_CORES = os.cpu_count() or 1
_UPLOAD = 200_000_000
T = TypeVar("T")
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Row:
    """One line of the table; speeds in bytes of trace files per second."""

    name: str
    speed: float
    floor: str
    floor_speed: float
    target: str = ""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=20_000, help="runs of the day made of words")
    parser.add_argument("--traces", type=int, default=1_000, help="traces of the sample application's day")
    parser.add_argument("--repeats", type=int, default=5)
    wanted, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="lse-bench-") as scratch:
        words, sample = Path(scratch, "words"), Path(scratch, "sample")
        _write_words(words, wanted.runs)
        _apart(_write_sample_day, sample, wanted.traces)
        memory = _apart(_pack_once, words, Path(scratch, "memory.zip"))
        for name, folder in (("words", words), ("sample application", sample)):
            _print_day(name, folder, Path(scratch), wanted.repeats)
        print(f"peak memory of a process that packs the day of words: {memory:.0f} MB")
        _print_upload(Path(scratch))


def _print_day(name: str, folder: Path, scratch: Path, repeats: int) -> None:
    paths = sorted(folder.iterdir())
    contents = [path.read_bytes() for path in paths]
    size = sum(map(len, contents))
    print(f"the day of {name}: {size / 1e6:.1f} MB in {len(contents):,} files")
    print(f"{'':32}{'MB/s':>8}   {'floor':44}{'MB/s':>8}{'of floor':>10}{'target':>9}")
    for row in _measure(folder, contents, size, scratch, repeats):
        speeds = f"{row.speed / 1e6:8.0f}   {row.floor:44}{row.floor_speed / 1e6:8.0f}"
        print(f"{row.name:32}{speeds}{row.speed / row.floor_speed:10.2f}{row.target:>9}")
    _print_costs(folder, contents, scratch / "day.zip", repeats)
    packed = (scratch / "day.zip").stat().st_size
    print(f"zip: {packed / 1e6:.1f} MB, {packed / size:.3f} of the trace files (target on the sample: 0.160)")
    print()


def _print_costs(folder: Path, contents: Sequence[bytes], path: Path, repeats: int) -> None:
    """What takes the processor time of packing, and how near to the floor the format allows to come."""
    names = [file.name for file in archived_files(folder)]
    deflated = [_deflate(content) for content in contents]
    works: dict[str, Callable[[], object]] = {
        "deflate": lambda: [_deflate(content) for content in contents],
        "SHA-256 of the files": lambda: [hashlib.sha256(content).digest() for content in contents],
        "CRC-32 of the files": lambda: [codec.crc32(content) for content in contents],
        "MD5 and SHA-256 of the zip": lambda: _hash_zip(deflated),
        "reading the files": lambda: [deque(blocks_of(folder / name), maxlen=0) for name in names],
        "writing the zip": lambda: _write_one(path.parent, deflated),
        "check of the files' form": lambda: _check_forms(names, contents),
    }
    whole = _processor_time(lambda: _pack(folder, path), repeats)
    parts = {name: _processor_time(work, repeats) for name, work in works.items()}
    deflate, *others = parts.values()
    print(f"{'pack, by processor time':32}{whole * 1e3:8.0f} ms")
    for name, seconds in [*parts.items(), ("all else", whole - sum(parts.values()))]:
        print(f"  {name:30}{seconds * 1e3:8.0f} ms{seconds / whole:8.2f}")
    most = deflate / (deflate + sum(others[:-1]))
    print(f"of the floor: {deflate / whole:.2f}, and {most:.2f} were the last two at no cost")


def _measure(folder: Path, contents: Sequence[bytes], size: int, scratch: Path, repeats: int) -> list[Row]:
    """Each thing beside its floors, several times over, so that a busy machine is as busy for both."""
    path, target = scratch / "day.zip", scratch / "restored"
    works: list[Callable[[], object]] = [
        lambda: _pack(folder, path),
        lambda: _on_all_cores(_deflate, contents),
        lambda: _on_all_cores(_deflate_and_hash, contents),
        lambda: _read_all(path),
        lambda: _inflate_all(deflated),
        lambda: restore_zip(path, target / "2025-09-13", _DAY, force=False),
        lambda: _write_each(target, contents),
        lambda: _write_one(target, contents),
    ]
    deflated = [_deflate(content) for content in contents]
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, times in zip(works, seconds, strict=True):
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            os.sync()  # what others left to be written would count as ours
            times.append(seconds_of(work))
    pack, deflate, hashed, read, inflate, restore, each, one = (
        size / statistics.median(times) for times in seconds
    )
    return [
        Row("pack", pack, f"deflate, {_CORES} threads", deflate, ">= 0.70"),
        Row("", pack, "the same, and CRC and hashes of files and zip", hashed),
        Row("read and check every member", read, "inflate, 1 thread", inflate),
        Row("restore", restore, "each file written and flushed", each, ">= 0.50"),
        Row("", restore, "one file of all bytes written and flushed", one),
    ]


# --- what is measured, and the floors


def _pack(folder: Path, path: Path) -> None:
    with packed_zip(folder, _DAY, path):
        pass


def _read_all(path: Path) -> None:
    with open_zip(path) as archive:
        archive.check()


def _deflate(content: bytes) -> bytes:
    deflater = codec.compressobj(LEVEL, codec.DEFLATED, -codec.MAX_WBITS)
    return bytes(deflater.compress(content) + deflater.flush())


def _deflate_and_hash(content: bytes) -> None:
    hashlib.sha256(content).digest()
    codec.crc32(content)
    _hash_zip([_deflate(content)])


def _hash_zip(blocks: Sequence[bytes]) -> None:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    for block in blocks:
        md5.update(block)
        sha256.update(block)


def _check_forms(names: Sequence[str], contents: Sequence[bytes]) -> None:
    for name, content in zip(names, contents, strict=True):
        if is_trace_file(name):
            count_texts(lines_of([content]), name)


def _processor_time(work: Callable[[], object], repeats: int) -> float:
    """The least of several times, since other work on the machine only ever adds."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def _inflate_all(contents: Sequence[bytes]) -> None:
    for content in contents:
        zlib.decompressobj(-zlib.MAX_WBITS).decompress(content)


def _on_all_cores(work: Callable[[bytes], object], contents: Sequence[bytes]) -> None:
    def share(first: int) -> None:
        for content in contents[first::_CORES]:
            work(content)

    threads = [Thread(target=share, args=(first,)) for first in range(_CORES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write_each(folder: Path, contents: Sequence[bytes]) -> None:
    for number, content in enumerate(contents):
        _write_one(folder, [content], str(number))


def _write_one(folder: Path, contents: Sequence[bytes], name: str = "all") -> None:
    with (folder / name).open("wb") as file:
        file.writelines(contents)
        file.flush()
        os.fsync(file.fileno())


# --- the days


def _write_words(folder: Path, runs: int) -> None:
    folder.mkdir()
    for trace in data.traces(runs, _DAY.day):
        write_trace(folder, trace, name_later=True)


def _write_sample_day(folder: Path, traces: int) -> float:
    """The trace files of the sample application, by way of a LangSmith of our own."""
    with LangSmithServer(api_key="bench") as server, tempfile.TemporaryDirectory() as scratch:
        write_sample(
            server.url, "bench", end=_DAY.day, days=1, traces_per_day=traces, projects=(_DAY.project,)
        )
        settings = load_settings(
            langsmith_endpoint=server.url,
            langsmith_api_key="bench",
            langsmith_rate_limit=False,
            data_dir=Path(scratch, "data"),
            archive_dir=Path(scratch, "archives"),
            state_dir=Path(scratch, "state"),
        )
        with Resources(settings) as resources:
            vars(resources).update(ledger=None)
            fetch(resources, _DAY)
            for note in resources.folder(_DAY).glob("_*"):
                note.unlink()
            shutil.move(resources.folder(_DAY), folder)
    return peak_memory()


# --- memory, each in a process of its own


def _pack_once(folder: Path, path: Path) -> float:
    _pack(folder, path)
    return peak_memory()


def _print_upload(scratch: Path) -> None:
    path = scratch / "upload.zip"
    path.write_bytes(random.Random(1).randbytes(_UPLOAD))
    key = scratch / "key.json"
    with _drive(key) as url:
        speed, before, peak = _apart(_upload, scratch, path, key, url)
    print(f"upload of {_UPLOAD / 1e6:.0f} MB to a Drive on this machine: {speed / 1e6:.0f} MB/s, ", end="")
    print(f"peak memory {peak:.0f} MB, of which")
    print(f"{before:.0f} MB before it began, with all of the benchmarks and the sandbox (target < 150)")


def _upload(scratch: Path, path: Path, key: Path, url: str) -> tuple[float, float, float]:
    settings = load_settings(
        target="drive", drive_credentials=key, drive_api_root=url, state_dir=scratch / "state"
    )
    with Resources(settings) as resources:
        target, before = resources.target, peak_memory()
        seconds = seconds_of(lambda: target.put("bench/2025-09-13.zip", path, {"lse": "1"}))
    return _UPLOAD / seconds, before, peak_memory()


def _apart(work: Callable[..., T], *arguments: object) -> T:
    """What `work` gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=_PROCESSES) as process:
        return process.submit(work, *arguments).result()


@contextmanager
def _drive(key: Path) -> Iterator[str]:
    """The address of a Drive in a process of its own; `key` becomes the file to log in with."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_serve, args=(theirs, key))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join(30)


def _serve(parent: Connection, key: Path) -> None:
    server = DriveServer().start()
    server.write_credentials(key)
    parent.send(server.url)
    parent.recv()
    server.stop()


if __name__ == "__main__":
    main()
