"""Journals grow by whole lines, wherever the process that wrote them was killed."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.archive import files
from lse.archive.files import append_line, whole_lines
from lse.archive.import_batch import Batch as ImportBatch
from lse.archive.import_batch import begin_batch as begin_import
from lse.models import ProjectDay
from lse.pipeline.batches import batches, begin_batch
from lse.pipeline.drilling import last_drill

NOW = datetime(2025, 9, 15, 8, tzinfo=UTC)
DAY = ProjectDay("chat", date(2025, 9, 13))


def test_a_line_torn_at_any_byte_leaves_the_lines_before_and_what_comes_after(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for kept in range(len(b"second\n")):
        path.write_bytes(b"first\n" + b"second\n"[:kept])
        assert whole_lines(path) == [b"first"]
        append_line(path, b"third")
        append_line(path, b"fourth")
        assert path.read_bytes() == b"first\nthird\nfourth\n"


def test_no_file_has_no_lines_and_the_first_one_is_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert whole_lines(path) == []
    append_line(path, b"")
    assert (whole_lines(path), path.stat().st_mode & 0o777) == ([b""], 0o600)


def test_half_a_line_longer_than_a_block_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK", 4)
    path = tmp_path / "journal"
    for torn in range(12):
        path.write_bytes(b"first\n" + b"x" * torn)
        append_line(path, b"second")
        assert whole_lines(path) == [b"first", b"second"]


LINE = st.binary(max_size=12).filter(lambda line: b"\n" not in line)


@given(st.lists(st.tuples(LINE, st.integers(0, 14))))
def test_what_was_written_whole_stays_and_what_was_torn_goes(steps: list[tuple[bytes, int]]) -> None:
    """Each line is written, and then the file loses up to its last bytes, as when the process was killed."""
    with TemporaryDirectory() as folder:
        path, wanted = Path(folder) / "journal", list[bytes]()
        for line, lost in steps:
            append_line(path, line)
            lost = min(lost, len(line) + 1)
            wanted += [line] if not lost else []
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - lost)
            assert whole_lines(path) == wanted


def test_a_repair_killed_while_it_noted_a_step_loses_no_later_step(tmp_path: Path) -> None:
    batch = begin_batch(tmp_path, DAY, NOW)
    batch.note("one")
    with (batch.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"step": "tw')
    batch.note("undone")
    (found,) = batches(tmp_path)
    assert ([line["step"] for line in found.steps()], found.undone, found.day) == (
        ["one", "undone"],
        True,
        DAY,
    )


def test_a_repair_killed_before_its_first_line_is_none(tmp_path: Path) -> None:
    batch = begin_batch(tmp_path, DAY, NOW)
    journal = batch.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-1])
    assert batches(tmp_path) == []


def test_an_import_killed_while_it_noted_a_day_goes_on(tmp_path: Path) -> None:
    batch = begin_import(tmp_path, "source", NOW)
    with (tmp_path / batch.name / "journal.jsonl").open("ab") as file:
        file.write(b'{"event": "beg')
    batch.note_undoing(DAY)
    assert ImportBatch(tmp_path / batch.name).undoing == {DAY}


def test_a_drill_killed_while_it_noted_its_outcome_hides_none_before_or_after(tmp_path: Path) -> None:
    path = tmp_path / "drills.jsonl"
    done = {"time": "2025-09-15T08:00:00+00:00", "seed": 1, "days": []}
    append_line(path, json.dumps(done).encode())
    path.write_bytes(path.read_bytes() + b'{"time": "2025-09-16T08:00:00+00:00", "days": []}')
    assert (drill := last_drill(tmp_path)) is not None
    assert drill.seed == 1
    append_line(path, json.dumps(done | {"seed": 2}).encode())
    assert (drill := last_drill(tmp_path)) is not None
    assert drill.seed == 2
