"""Bringing a trace up to date."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.archive.identity import identify_feedback, identify_run
from lse.archive.merge import latest_runs, merge_trace, missing_parents
from lse.archive.trace_file import make_trace
from lse.models import RawRun, Trace

T1 = UUID("0199d0aa-0000-7000-8000-000000000001")


def an_id(number: int) -> UUID:
    return UUID(f"0199d0aa-0000-7000-8000-{number:012x}")


def run(
    number: int, *, parent: int | None = None, ended: bool = True, version: int = 0, **more: Any
) -> RawRun:
    values = {
        "id": str(an_id(number)),
        "trace_id": str(T1),
        "parent_run_id": str(an_id(parent)) if parent else None,
        "start_time": "2025-09-13T10:11:12",
        "end_time": "2025-09-13T10:11:13" if ended else None,
        "status": "success" if ended else "pending",
        "dotted_order": f"{number:04}",
        "version": version,
    }
    return identify_run(json.dumps(values | more).encode())


def trace(*runs: RawRun, opinions: dict[int, int] | None = None) -> Trace:
    feedback = [
        identify_feedback(json.dumps({"id": str(an_id(key)), "run_id": str(T1), "score": score}).encode())
        for key, score in (opinions or {}).items()
    ]
    return make_trace(T1, runs, feedback)


def texts(merged: Trace) -> list[bytes]:
    return [run.text for run in merged.runs]


def test_a_first_fetch_is_taken_as_it_is() -> None:
    assert merge_trace(None, trace(run(1))) == trace(run(1))


def test_a_changed_run_replaces_its_earlier_version_and_a_new_one_is_added() -> None:
    merged = merge_trace(trace(run(1), run(2)), trace(run(1, version=1), run(2), run(3)))
    assert texts(merged) == texts(trace(run(1, version=1), run(2), run(3)))


def test_what_vanished_at_the_source_stays() -> None:
    assert merge_trace(trace(run(1), run(2), opinions={7: 1}), trace(run(2))) == trace(
        run(1), run(2), opinions={7: 1}
    )


def test_a_pending_run_becomes_finished_and_never_pending_again() -> None:
    pending, finished = trace(run(1, ended=False)), trace(run(1))
    assert merge_trace(pending, finished) == finished
    assert merge_trace(finished, pending) == finished
    assert merge_trace(pending, trace(run(1, ended=False, version=1))) == trace(
        run(1, ended=False, version=1)
    )


def test_changed_feedback_replaces_and_other_feedback_stays() -> None:
    merged = merge_trace(trace(run(1), opinions={7: 1, 8: 1}), trace(run(1), opinions={8: 0, 9: 1}))
    assert merged == trace(run(1), opinions={7: 1, 8: 0, 9: 1})


def test_a_link_that_was_only_signed_anew_is_no_change() -> None:
    before = run(1, s3_urls={"a": {"presigned_url": "https://files.example.org/a?sig=1"}})
    after = run(1, s3_urls={"a": {"presigned_url": "https://files.example.org/a?sig=2"}})
    other = run(1, s3_urls={"a": {"presigned_url": "https://files.example.org/b?sig=1"}})
    assert texts(merge_trace(trace(before), trace(after))) == [before.text]
    assert texts(merge_trace(trace(before), trace(other))) == [other.text]


def test_a_question_mark_in_a_payload_is_no_signature() -> None:
    before, after = (
        run(1, inputs={"url": "https://example.org?a=1"}),
        run(1, inputs={"url": "https://example.org?a=2"}),
    )
    assert texts(merge_trace(trace(before), trace(after))) == [after.text]


def test_the_last_version_of_a_run_counts() -> None:
    versions = [run(1, ended=False), run(1, version=1), run(1, ended=False, version=2), run(1, version=3)]
    assert [each.text for each in latest_runs(versions)] == [run(1, version=3).text]
    assert [each.text for each in latest_runs(versions[:3])] == [run(1, version=1).text]


some_runs = st.lists(
    st.builds(run, st.integers(1, 5), ended=st.booleans(), version=st.integers(0, 2)), max_size=8
)


@given(some_runs, some_runs)
def test_nothing_shrinks_and_nothing_finished_becomes_unfinished(
    one: list[RawRun], other: list[RawRun]
) -> None:
    before, after = trace(*latest_runs(one)), trace(*latest_runs(other))
    merged = {run.id: run for run in merge_trace(before, after).runs}
    assert merged.keys() == {run.id for run in before.runs} | {run.id for run in after.runs}
    for run_ in (*before.runs, *after.runs):
        assert merged[run_.id].ended >= run_.ended


@given(some_runs, some_runs)
def test_merging_again_changes_nothing(one: list[RawRun], other: list[RawRun]) -> None:
    before, after = trace(*latest_runs(one)), trace(*latest_runs(other))
    merged = merge_trace(before, after)
    assert merge_trace(merged, after) == merged
    assert merge_trace(merged, before).runs == merge_trace(merge_trace(merged, before), before).runs


def test_a_whole_trace_lacks_no_parent() -> None:
    assert missing_parents(trace(run(1), run(2, parent=1), run(3, parent=2))) == []


def test_a_missing_parent_and_a_missing_root_are_named() -> None:
    assert missing_parents(trace(run(1), run(3, parent=2))) == [an_id(3)]
    assert missing_parents(trace(run(2, parent=1))) == [T1, an_id(2)]
    assert missing_parents(trace(run(2))) == [T1]


V1 = (
    b'{"id":"0199d0aa-0000-7000-8000-000000000001","trace_id":"0199d0aa-0000-7000-8000-000000000001",'
    b'"session_id":"s","status":"success","end_time":"2025-09-13T10:11:13","outputs":{"a":1},"ttl_seconds":9}'
)
V2 = (
    b'{"id":"0199d0aa-0000-7000-8000-000000000001","trace_id":"0199d0aa-0000-7000-8000-000000000001",'
    b'"project_id":"s","status":"SUCCESS","end_time":"2025-09-13T10:11:13Z","outputs":{"a":1}}'
)


def kept(*texts: bytes) -> bytes:
    (run,) = latest_runs(map(identify_run, texts))
    return run.text


def test_an_unchanged_run_keeps_its_fuller_text_when_it_is_read_through_v2() -> None:
    assert kept(V1, V2) == V1
    assert kept(V2, V1) == V1


@pytest.mark.parametrize(
    "change", [(b'{"a":1}', b'{"a":2}'), (b"10:11:13Z", b"10:11:14Z"), (b"SUCCESS", b"ERROR")]
)
def test_a_run_that_changed_is_replaced_also_by_its_text_of_v2(change: tuple[bytes, bytes]) -> None:
    assert kept(V1, V2.replace(*change)) == V2.replace(*change)


def test_a_run_that_ended_is_replaced_also_by_its_text_of_v2() -> None:
    pending = V1.replace(b'"success"', b'"pending"').replace(b'"2025-09-13T10:11:13"', b"null")
    assert kept(pending, V2) == V2
