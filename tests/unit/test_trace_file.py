"""Trace files: written, read back, and refused when damaged."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.archive.files import lines_of
from lse.archive.identity import Unplaced, identify_feedback, identify_run
from lse.archive.trace_file import (
    DamagedArchive,
    count_texts,
    make_trace,
    open_sections,
    read_trace,
    read_trace_file,
    single_line,
    trace_lines,
    write_trace,
)
from lse.models import RawFeedback, RawRun, StoredFile, Trace

T1 = UUID("0199d0aa-0000-7000-8000-000000000001")
T2 = UUID("0199d0aa-0000-7000-8000-000000000002")
NAME = f"101112_{T1}.json"


def an_id(number: int) -> UUID:
    return UUID(f"0199d0aa-0000-7000-8000-{number:012x}")


def run(number: int = 1, *, trace: UUID = T1, extra: bytes = b"", **changes: Any) -> RawRun:
    order = f"20250913T101112000000Z{trace}"
    values = {
        "id": str(an_id(number)),
        "trace_id": str(trace),
        "start_time": "2025-09-13T10:11:12",
        "end_time": "2025-09-13T10:11:13",
        "status": "success",
        "dotted_order": order if an_id(number) == trace else f"{order}.20250913T101113000000Z{an_id(number)}",
    }
    text = json.dumps(values | changes).encode()
    return identify_run(text[:-1] + b"," + extra + b"}" if extra else text)


def opinion(number: int, on: RawRun) -> RawFeedback:
    return identify_feedback(
        json.dumps({"id": str(an_id(number)), "run_id": str(on.id), "score": 1}).encode()
    )


SMALL = make_trace(T1, [run(1), run(2)], [opinion(7, run(1)), opinion(8, run(2))])


def written(trace: Trace) -> bytes:
    return b"".join(trace_lines(trace))


def test_the_form_of_a_trace_file() -> None:
    runs = (RawRun(T1, T1, None, "a", True, b'{"n":1}'), RawRun(T2, T1, None, "b", True, b'{"n":2}'))
    feedback = (RawFeedback(an_id(9), T1, b'{"f":1}'),)
    files = (StoredFile(T2, "attachment.plot", "ab" * 32, 7, "image/png"),)
    assert written(Trace(T1, datetime(2025, 9, 13, tzinfo=UTC), runs, feedback, files)) == (
        b'{"format":"lse-trace/1","trace_id":"0199d0aa-0000-7000-8000-000000000001","runs":[\n'
        b'{"n":1},\n'
        b'{"n":2}\n'
        b'],"feedback":[\n'
        b'{"f":1}\n'
        b'],"files":[\n'
        b'{"run_id":"0199d0aa-0000-7000-8000-000000000002","name":"attachment.plot","sha256":"'
        + b"ab"
        * 32
        + b'","size":7,"mime_type":"image/png"}\n'
        b"]}\n"
    )


def test_a_trace_file_is_one_json_document() -> None:
    document = json.loads(written(SMALL))
    assert (document["format"], document["trace_id"]) == ("lse-trace/1", str(T1))
    assert [run["id"] for run in document["runs"]] == [str(an_id(1)), str(an_id(2))]
    assert [item["id"] for item in document["feedback"]] == [str(an_id(7)), str(an_id(8))]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = write_trace(tmp_path, SMALL)
    assert path.name == NAME
    assert read_trace_file(path) == SMALL
    assert path.stat().st_mode & 0o777 == 0o600


odd_values = st.sampled_from(
    [
        b"123456789012345678901234567890",
        b"-0",
        b"1e400",
        b'{"a":1,"a":2}',
        b'"\\u0000"',
        b'"\\ud800"',
        b"[" * 5000 + b"]" * 5000,
        b'"],\\"feedback\\":["',
        b'"\\n],\\n"',
    ]
) | st.text().map(lambda text: json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(st.lists(odd_values, max_size=5), st.integers(0, 3))
def test_any_texts_are_read_back_byte_for_byte(values: list[bytes], opinions: int) -> None:
    runs = [run(number, extra=b'"x":' + value) for number, value in enumerate(values, 1)]
    feedback = [opinion(50 + number, one) for number in range(opinions) for one in runs]
    trace = make_trace(T1, runs, feedback)
    assert read_trace(written(trace).splitlines(keepends=True), NAME) == trace


def _structure(content: bytes) -> list[int]:
    """The offsets of the first line, of the lines between the lists, and of every line's ending."""
    offsets, at = [], 0
    for line in content.splitlines(keepends=True):
        own = line.startswith((b'{"format"', b"],", b"]}"))
        offsets += range(at, at + len(line)) if own else range(at + len(line.rstrip(b",\n")), at + len(line))
        at += len(line)
    return offsets


@given(st.sampled_from(_structure(written(SMALL))), st.integers(1, 255))
def test_a_changed_byte_in_the_structure_is_noticed(offset: int, change: int) -> None:
    content = bytearray(written(SMALL))
    content[offset] ^= change
    with pytest.raises(DamagedArchive):
        read_trace(bytes(content).splitlines(keepends=True), NAME)


def test_every_bit_of_the_structure_counts() -> None:
    content = written(SMALL)
    for offset in _structure(content):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[offset] ^= 1 << bit
            with pytest.raises(DamagedArchive):
                read_trace(bytes(damaged).splitlines(keepends=True), NAME)


def test_a_file_that_ends_early_anywhere_is_noticed(tmp_path: Path) -> None:
    content, path = written(SMALL), tmp_path / NAME
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedArchive, match=NAME):
            read_trace_file(path)


@given(st.integers(0, len(written(SMALL)) - 1), st.integers(1, 255))
def test_a_changed_byte_anywhere_never_raises_anything_else(offset: int, change: int) -> None:
    content = bytearray(written(SMALL))
    content[offset] ^= change
    with suppress(DamagedArchive):
        read_trace(bytes(content).splitlines(keepends=True), NAME)


@pytest.mark.parametrize(
    "content",
    [
        written(SMALL) + b"\n",
        written(SMALL) + written(SMALL),
        written(SMALL).replace(b"lse-trace/1", b"lse-trace/2"),
        written(SMALL).replace(b"\n", b"\r\n"),
        written(make_trace(T1, [run(1), run(2, trace=T2)], [])),
        written(make_trace(T1, [RawRun(T1, T1, None, "", True, b'{"id":1}')], [])),
        b"{}",
        b"",
    ],
    ids=["line", "twice", "format", "crlf", "other trace", "no id", "object", "empty"],
)
def test_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedArchive):
        read_trace(content.splitlines(keepends=True), NAME)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_lines_come_whole_wherever_the_blocks_are_cut(size: int) -> None:
    for content in (b"", b"\n", b"a", b"a\nb", b"\n\nlonger than a block\r\n\n", written(SMALL)):
        blocks = [content[start : start + size] for start in range(0, len(content), size)]
        assert b"|".join(lines_of(blocks)) == content.replace(b"\n", b"\n|").removesuffix(b"|")


def texts_read(content: bytes) -> tuple[int, int] | str:
    try:
        runs, feedback, _ = (len(list(texts)) for texts in open_sections(lines_of([content]), NAME)[1])
    except DamagedArchive as error:
        return error.message
    return runs, feedback


def texts_counted(content: bytes) -> tuple[int, int] | str:
    try:
        return count_texts(lines_of([content]), NAME)
    except DamagedArchive as error:
        return error.message


def test_texts_are_counted_exactly_where_they_can_be_read() -> None:
    lines = list(trace_lines(SMALL))
    assert texts_counted(b"".join(lines)) == (2, 2)
    for number, line in enumerate(lines):
        bare = line.rstrip(b",\n")
        for instead in (b"", line + line, bare, bare + b"\n", b"\n" + line, line + b"x"):
            damaged = b"".join([*lines[:number], instead, *lines[number + 1 :]])
            assert texts_counted(damaged) == texts_read(damaged)


def test_a_trace_file_under_another_traces_name_is_refused() -> None:
    with pytest.raises(DamagedArchive, match="another trace than it says"):
        read_trace(written(SMALL).splitlines(keepends=True), f"101112_{T2}.json")


def test_the_refusal_quotes_nothing_of_the_content() -> None:
    trace = Trace(T1, SMALL.started, (RawRun(T1, T1, None, "", True, b'{"secret":'),), ())
    with pytest.raises(DamagedArchive) as caught:
        read_trace(written(trace).splitlines(keepends=True), NAME)
    assert "secret" not in caught.value.message + caught.value.hint


def test_runs_stand_in_dotted_order_then_by_id_whatever_order_they_came_in() -> None:
    runs = [
        run(3, dotted_order="b"),
        run(2, dotted_order="b"),
        run(4, dotted_order="a"),
        run(5, dotted_order=None),
    ]
    assert [each.id for each in make_trace(T1, runs, []).runs] == [an_id(5), an_id(4), an_id(2), an_id(3)]


def test_feedback_stands_by_run_then_by_id() -> None:
    items = [opinion(9, run(2)), opinion(8, run(2)), opinion(7, run(1))]
    assert [item.id for item in make_trace(T1, [], items).feedback] == [an_id(7), an_id(8), an_id(9)]


@pytest.mark.parametrize(
    ("runs", "started"),
    [
        (
            [run(2), run(1, start_time="2025-09-13T10:11:12.5")],
            datetime(2025, 9, 13, 10, 11, 12, 500000, UTC),
        ),
        ([run(1, start_time="2025-09-14T01:00:00+02:00")], datetime(2025, 9, 13, 23, 0, tzinfo=UTC)),
        ([run(1, start_time=None)], datetime(2025, 9, 13, 10, 11, 12, tzinfo=UTC)),
        ([run(2, start_time="2025-09-13T11:00:00")], datetime(2025, 9, 13, 10, 11, 12, tzinfo=UTC)),
        ([run(2, start_time="2025-09-13T11:00:00", dotted_order="x")], datetime(2025, 9, 13, 11, tzinfo=UTC)),
        (
            [run(1, start_time="0001-01-01T00:00:00+14:00", dotted_order="x")],
            datetime(1970, 1, 1, tzinfo=UTC),
        ),
        ([], datetime(1970, 1, 1, tzinfo=UTC)),
    ],
    ids=["root", "zone", "no time", "no root", "no root and no order", "outside the calendar", "nothing"],
)
def test_a_trace_starts_with_its_root_or_what_stands_for_it(runs: list[RawRun], started: datetime) -> None:
    assert make_trace(T1, runs, []).started == started


def test_a_run_is_kept_on_one_line() -> None:
    assert single_line(b'\n{\n  "id": 1,\r\n  "text": "a\\nb"\n}\n') == b'{ "id": 1, "text": "a\\nb" }'


@pytest.mark.parametrize(
    ("values", "ended"),
    [
        ({"status": "success", "end_time": None}, True),
        ({"status": "ERROR", "end_time": None}, True),
        ({"status": "cancelled", "end_time": None}, True),
        ({"status": "pending", "end_time": None}, False),
        ({"status": "PENDING", "end_time": None}, False),
        ({"status": None, "end_time": None}, False),
        ({"status": "", "end_time": None}, False),
        ({"status": 5, "end_time": None}, False),
        ({"status": "pending", "end_time": "2025-09-13T10:11:13"}, True),
    ],
)
def test_a_run_has_ended_when_it_has_an_end_or_any_status_but_pending(
    values: dict[str, Any], ended: bool
) -> None:
    assert run(1, **values).ended is ended


def test_both_shapes_name_the_parent() -> None:
    assert run(3, parent_run_id=str(an_id(2)), parent_run_ids=[str(T1), str(an_id(2))]).parent_id == an_id(2)
    assert run(3, parent_run_ids=[str(T1), str(an_id(2))]).parent_id == an_id(2)
    assert run(1, parent_run_id=None, parent_run_ids=[]).parent_id is None


def test_a_trace_id_that_is_missing_stands_in_the_dotted_order() -> None:
    assert run(2, trace_id=None).trace_id == T1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id":"x"}',
        b'{"id":5,"trace_id":5}',
        b'{"id":"0199d0aa-0000-7000-8000-000000000001"}',
        b'{"id":"0199d0aa-0000-7000-8000-000000000001","trace_id":{}}',
        b'{"id":"0199d0aa-0000-7000-8000-000000000001","trace_id":"\\ud800"}',
        b'{"id":"0199d0aa-0000-7000-8000-000000000001","trace_id":[' + b"[" * 5000 + b"]" * 5000 + b"]}",
        b'{"id":"0199d0aa-0000-7000-8000-000000000001","trace_id":"0199d0aa-0000-7000-8000-000000000001","parent_run_id":"x"}',
    ],
)
def test_a_text_that_names_no_run_or_no_trace_is_unplaced(text: bytes) -> None:
    with pytest.raises(Unplaced):
        identify_run(text)


def test_ids_are_read_from_texts_that_parsers_refuse() -> None:
    odd = b'"x":[1e999999,-0,"\\ud800",' + b"[" * 5000 + b"]" * 5000 + b"]"
    assert run(2, extra=odd).id == an_id(2)
