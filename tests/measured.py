"""Which lines of `lse` run in processes that are forked from one that is none of pytest's.

SlipCover measures pytest's own processes, and names a folder in the environment for what others measure.
"""

import gc
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import slipcover

_FOLDER = "SLIPCOVER_COVERAGE_DIR"
_SOURCES = [str(Path(__file__).parents[1] / "lse")]
_FORM = {"software": "slipcover", "branch_coverage": True}

_meter: slipcover.Slipcover | None = None
_frames_of_threads = sys._current_frames


def _current_frames() -> dict[int, FrameType]:
    """As `sys._current_frames`, with nothing collected meanwhile.

    SlipCover asks for them whenever it has seen enough of a line, and a collection in the middle can block a
    process of many threads for ever before Python 3.11.9 and 3.12.3, which do so themselves (CPython 106883).
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _frames_of_threads()
    finally:
        if collecting:
            gc.enable()


sys._current_frames = _current_frames


@contextmanager
def measured_imports() -> Iterator[None]:
    """This process and its children know which lines run of what is imported here, if that is asked for."""
    global _meter
    if _FOLDER not in os.environ:
        yield
        return
    _meter = slipcover.Slipcover(branch=True, source=_SOURCES)
    with slipcover.ImportManager(_meter, slipcover.FileMatcher(sources=_SOURCES)):
        yield


@contextmanager
def measured() -> Iterator[None]:
    """Which lines run in the body is told in a file of the folder."""
    if _meter is None:
        yield
        return
    _meter.signal_child_process()  # what ran before, the parent told
    told = Path(os.environ[_FOLDER], f"forked-{os.getpid()}.json")
    try:
        yield
    finally:
        files = _meter.all_seen.keys() | _meter.newly_seen.keys()
        ran = {file: list(_meter.all_seen[file] | _meter.newly_seen[file]) for file in files}
        told.write_text(json.dumps(ran))


def combine_measured() -> None:
    """Make one file of what all of them told, where SlipCover looks for those of pytest's processes."""
    if _FOLDER not in os.environ:
        return
    folder = Path(os.environ[_FOLDER])
    ran: defaultdict[str, set[int | tuple[int, int]]] = defaultdict(set)
    for told in folder.glob("forked-*.json"):
        for file, seen in json.loads(told.read_text()).items():
            ran[file].update(tuple(each) if isinstance(each, list) else each for each in seen)
    files = {
        file: {
            "executed_lines": [each for each in seen if isinstance(each, int)],
            "executed_branches": [each for each in seen if isinstance(each, tuple)],
        }
        for file, seen in ran.items()
    }
    (folder / "coverage-gw-forked.json").write_text(json.dumps({"meta": _FORM, "files": files}))
