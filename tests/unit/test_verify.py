"""Comparing what copies of a project day hold."""

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from lse.models import Holding, content_hash, count_entries, pack_entries, read_entries
from lse.verify import Difference, by_severity, compare_feedback, compare_runs, kinds_of

TRACE = UUID(int=1)
R1, R2, R3 = UUID(int=11), UUID(int=12), UUID(int=13)
A, B = content_hash(b"a"), content_hash(b"b")


def entries(**items: UUID) -> bytes:
    return pack_entries(UUID(int=int(name[1:])).bytes + content.bytes for name, content in items.items())


def lines(reference: bytes, other: bytes, **options: Any) -> list[str]:
    found = compare_runs(TRACE, Holding(reference), Holding(other), "store", **options)
    return [str(difference) for difference in found]


def test_entries_are_read_back_by_id() -> None:
    packed = entries(r12=B, r11=A)
    assert list(read_entries(packed)) == [(R1, A), (R2, B)]
    assert count_entries(packed) == 2


def test_equal_copies_have_no_differences() -> None:
    assert lines(entries(r11=A, r12=B), entries(r12=B, r11=A)) == []


def test_each_run_that_is_missing_changed_or_too_many_is_named() -> None:
    assert lines(entries(r11=A, r12=A), entries(r12=B, r13=A)) == [
        f"run {R1} of trace {TRACE} is missing in store",
        f"run {R2} of trace {TRACE} differs in store",
        f"run {R3} of trace {TRACE} is only in store",
    ]


def test_a_trace_that_is_in_one_copy_only_is_named_once_and_in_detail_run_by_run() -> None:
    found = list(compare_runs(TRACE, Holding(entries(r11=A, r12=A)), Holding(b""), "zip"))
    assert [str(each) for each in found] == [f"trace {TRACE} with its 2 runs is missing in zip"]
    assert [str(each) for each in found[0].each()] == [
        f"run {R1} of trace {TRACE} is missing in zip",
        f"run {R2} of trace {TRACE} is missing in zip",
    ]
    [alone] = compare_runs(TRACE, Holding(b""), Holding(entries(r11=A)), "zip")
    assert list(alone.each()) == [alone]
    assert str(alone) == f"run {R1} of trace {TRACE} is only in zip"


def test_feedback_is_compared_too() -> None:
    found = compare_feedback(entries(r11=A, r12=A), entries(r12=B, r13=A), "zip")
    assert [str(each) for each in found] == [
        f"feedback {R1} is missing in zip",
        f"feedback {R2} differs in zip",
        f"feedback {R3} is only in zip",
    ]


def test_feedback_that_is_equal_or_in_quarantine_is_no_difference() -> None:
    assert list(compare_feedback(entries(r11=A), entries(r11=A), "zip")) == []
    found = compare_feedback(entries(r11=A, r12=A, r13=B), entries(r11=A, r12=B), "zip", excused={B})
    assert [str(each) for each in found] == [f"feedback {R2} differs in zip"]


def test_what_is_in_quarantine_is_not_missing() -> None:
    assert lines(entries(r11=A), b"", excused={A}) == []
    assert list(compare_feedback(entries(r11=A), b"", "store", {A})) == []


def test_another_version_in_quarantine_does_not_excuse_a_missing_run() -> None:
    assert lines(entries(r11=A), b"", excused={B}) == [f"run {R1} of trace {TRACE} is missing in store"]


def test_the_worst_comes_first_and_kinds_are_counted() -> None:
    extra, lost = Difference("extra", "zip", "a.json"), Difference("lost", "archive", "trace 1")
    damaged = Difference("damaged", "zip", "x.json is damaged: it ends too early.")
    assert by_severity([extra, damaged, lost]) == [lost, damaged, extra]
    assert kinds_of([extra, damaged, extra]) == {"damaged": 1, "extra": 2}
    assert [str(each) for each in (lost, damaged, extra)] == [
        "trace 1 is lost: whole in no archive",
        "zip: x.json is damaged: it ends too early.",
        "a.json is only in zip",
    ]


@given(*[st.dictionaries(st.sampled_from([R1, R2, R3]), st.sampled_from([A, B]))] * 2)
def test_there_are_differences_exactly_when_the_copies_differ(one: Any, other: Any) -> None:
    packed = [pack_entries(key.bytes + value.bytes for key, value in each.items()) for each in (one, other)]
    found = list(compare_runs(TRACE, Holding(packed[0]), Holding(packed[1]), "store"))
    named = [run_id for difference in found for run_id in difference.run_ids]
    assert sorted(named) == sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
