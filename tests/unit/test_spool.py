"""The spool of an unfinished fetch, and the trace files made of it."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from lse.archive.assemble import index_spool, write_traces
from lse.archive.identity import identify_feedback, identify_run
from lse.archive.spool import Lane, Position, Spool
from lse.archive.trace_file import make_trace, read_trace_file, write_trace

NOW = datetime(2025, 9, 14, 1, 2, 3, tzinfo=UTC)
T1 = UUID("0199d0aa-0000-7000-8000-000000000001")
T2 = UUID("0199d0aa-0000-7000-8000-000000000002")


def spool(folder: Path, walk: str = "walk", now: datetime = NOW) -> Spool:
    return Spool(folder / "spool", walk, now)


def texts(of: Spool) -> list[bytes]:
    return [text for _, text in of.texts()]


def run(number: int, trace: UUID = T1, *, ended: bool = True, **more: Any) -> bytes:
    values = {
        "id": f"0199d0aa-0000-7000-8000-{number:012x}",
        "trace_id": str(trace),
        "start_time": "2025-09-13T10:11:12",
        "end_time": "2025-09-13T10:11:13" if ended else None,
        "status": "success" if ended else "pending",
        "dotted_order": f"{number:03}",
    }
    return json.dumps(values | more).encode()


def test_pages_are_kept_in_order_with_their_cursor(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add_page([b"a", b"bb"], "c1")
    one.add_page([], "c2")
    one.add_page([b"ccc"], None)
    assert texts(one) == [b"a", b"bb", b"ccc"]
    assert one.position == Position("walk", "2025-09-14T01:02:03+00:00", (Lane(),), 9, 3, 3, ends=(9,))
    assert list(one.read([5, 0, 2])) == [b"ccc", b"a", b"bb"]
    assert list(one.texts(2, 5)) == [(2, b"bb")]


def test_a_fetch_continues_where_it_was_cut_and_counts_from_its_begin(tmp_path: Path) -> None:
    spool(tmp_path).add_page([b"a"], "c1")
    again = spool(tmp_path, now=NOW + timedelta(days=4))
    assert again.position == Position("walk", "2025-09-14T01:02:03+00:00", (Lane("c1"),), 2, 1, 1)
    again.add_page([b"b"], None)
    assert texts(spool(tmp_path)) == [b"a", b"b"]


def test_bytes_past_the_position_are_cut_off(tmp_path: Path) -> None:
    spool(tmp_path).add_page([b"a"], "c1")
    with (tmp_path / "spool" / "runs.jsonl").open("ab") as file:
        file.write(b"half a pa")
    again = spool(tmp_path)
    again.add_page([b"b"], None)
    assert texts(again) == [b"a", b"b"]


@pytest.mark.parametrize(
    "saved",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b"{}",
        b'{"walk":"walk"}',
        b'{"walk":"walk","began":"x","ends":[],"later":1}',
    ],
)
def test_a_position_in_another_form_starts_over(tmp_path: Path, saved: bytes) -> None:
    spool(tmp_path).add_page([b"a"], "c1")
    (tmp_path / "spool" / "position.json").write_bytes(saved)
    assert spool(tmp_path).position == Position("walk", "2025-09-14T01:02:03+00:00")
    assert texts(spool(tmp_path)) == []


def test_another_walk_starts_over(tmp_path: Path) -> None:
    spool(tmp_path, "v1").add_page([b"a"], "c1")
    other = spool(tmp_path, "v2")
    assert (other.position.lanes, texts(other)) == ((Lane(),), [])


def test_texts_that_are_shorter_than_the_position_start_over(tmp_path: Path) -> None:
    spool(tmp_path).add_page([b"abc"], "c1")
    os.truncate(tmp_path / "spool" / "runs.jsonl", 2)
    assert (spool(tmp_path).position.pages, texts(spool(tmp_path))) == (0, [])


def test_a_lane_that_begins_again_keeps_what_it_gave(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add_page([b"a"], None)
    one.add_page([b"b"], "c1")
    one.restart(0)
    assert spool(tmp_path).position.lanes == (Lane(),)
    one.add_page([b"c"], None)
    assert (texts(spool(tmp_path)), spool(tmp_path).position.ends) == ([b"a", b"b", b"c"], (2, 6))


def test_a_walk_ends_when_its_last_lane_does(tmp_path: Path) -> None:
    one = Spool(tmp_path / "spool", "walk", NOW, lanes=2)
    one.add_page([b"a"], None, lane=1)
    one.add_page([b"b"], "c1", lane=0)
    again = Spool(tmp_path / "spool", "walk", NOW, lanes=4)
    assert again.position.lanes == (Lane("c1"), Lane(None, done=True))
    assert again.position.ends == ()
    again.add_page([b"c"], None, lane=0)
    assert again.position.lanes == (Lane(), Lane())
    assert again.position.ends == (6,)


def test_a_discarded_spool_is_gone(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add_page([b"a"], None)
    one.discard()
    assert not (tmp_path / "spool").exists()


def test_nobody_else_may_read_a_spool(tmp_path: Path) -> None:
    spool(tmp_path).add_page([b"a"], None)
    modes = {
        path.name: path.stat().st_mode & 0o777
        for path in [tmp_path / "spool", *(tmp_path / "spool").iterdir()]
    }
    assert modes == {"spool": 0o700, "runs.jsonl": 0o600, "position.json": 0o600}


# --- from spool to trace files


def archived(folder: Path, of: Spool) -> dict[str, list[bytes]]:
    """The trace files after `of` was brought in: the texts of each, by file name."""
    list(write_traces(folder, of, index_spool(of), {}))
    return {
        path.name: [each.text for each in read_trace_file(path).runs]
        for path in sorted(folder.glob("*.json"))
    }


def test_the_latest_version_of_a_run_counts_but_never_an_unfinished_one(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add_page([run(1, n=1), run(2, ended=False, n=1)], None)
    one.add_page([run(1, ended=False, n=2), run(2, n=2)], None)
    assert archived(tmp_path / "day", one) == {f"101112_{T1}.json": [run(1, n=1), run(2, n=2)]}


def test_runs_of_different_pages_meet_in_their_trace(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add_page([run(2), run(12, T2)], "c")
    one.add_page([run(11, T2), run(1)], None)
    assert list(archived(tmp_path / "day", one).values()) == [[run(1), run(2)], [run(11, T2), run(12, T2)]]


def test_a_run_without_a_trace_is_kept_and_counted_once_however_often_it_came(tmp_path: Path) -> None:
    one = spool(tmp_path)
    for _ in range(2):
        one.add_page([b'{"id":null}', b'{"id":1}', run(1)], None)
    assert len(index_spool(one).unplaced) == 2
    for _ in range(2):
        archived(tmp_path / "day", one)
    assert (tmp_path / "day" / "unplaced.jsonl").read_bytes() == b'{"id":null}\n{"id":1}\n'


def test_a_trace_whose_root_comes_late_gets_its_name_then(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add_page([run(7, start_time="2025-09-13T12:00:00")], None)
    assert list(archived(tmp_path / "day", one)) == [f"120000_{T1}.json"]
    one.add_page([run(1)], None)
    assert archived(tmp_path / "day", one) == {
        f"101112_{T1}.json": [run(1), run(7, start_time="2025-09-13T12:00:00")]
    }


def test_a_trace_that_a_kill_left_in_two_files_becomes_one(tmp_path: Path) -> None:
    one, day = spool(tmp_path), tmp_path / "day"
    one.add_page([run(7)], None)
    archived(day, one)
    (day / f"101112_{T1}.json").rename(day / f"120000_{T1}.json")
    one.discard()
    one = spool(tmp_path)
    one.add_page([run(1)], None)
    write_trace(day, make_trace(T1, [identify_run(run(1))], []))
    assert archived(day, one) == {f"101112_{T1}.json": [run(1), run(7)]}


def test_an_unchanged_trace_is_not_written_again(tmp_path: Path) -> None:
    one, day = spool(tmp_path), tmp_path / "day"
    one.add_page([run(1)], None)
    assert [update.written for update in write_traces(day, one, index_spool(one), {})] == [True]
    before = (day / f"101112_{T1}.json").stat().st_ino
    assert [update.written for update in write_traces(day, one, index_spool(one), {})] == [False]
    assert (day / f"101112_{T1}.json").stat().st_ino == before


def test_what_a_killed_process_left_half_written_goes_away(tmp_path: Path) -> None:
    one, day = spool(tmp_path), tmp_path / "day"
    one.add_page([run(1)], None)
    day.mkdir()
    (day / f".101112_{T1}.json.1a2b3c4d.tmp").write_bytes(b"half")
    archived(day, one)
    assert [path.name for path in day.iterdir()] == [f"101112_{T1}.json"]


def test_feedback_stands_in_the_file_of_its_trace(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add_page(
        [run(1, feedback_stats={"score": {"n": 1}}), run(2, feedback_stats={}), run(3, feedback_stats=None)],
        None,
    )
    index = index_spool(one)
    assert index.with_feedback == {T1}
    item = identify_feedback(json.dumps({"id": str(UUID(int=5)), "run_id": str(T1)}).encode())
    (update,) = write_traces(tmp_path / "day", one, index, {T1: [item]})
    assert (
        update.trace.feedback == read_trace_file(tmp_path / "day" / f"101112_{T1}.json").feedback == (item,)
    )
