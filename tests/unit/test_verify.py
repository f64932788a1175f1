"""Comparing the copies of a project day."""

import re
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from lse.models import Inventory, content_hash
from lse.verify import Difference, compare, damage

T1, T2 = UUID(int=1), UUID(int=2)
R1, R2, R3 = UUID(int=11), UUID(int=12), UUID(int=13)
A, B = content_hash(b"a"), content_hash(b"b")


def copy(name: str = "zip", **values: Any) -> Inventory:
    return Inventory(name, **values)


def lines(reference: Inventory, other: Inventory) -> list[str]:
    return [str(difference) for difference in compare(reference, other)]


def test_equal_copies_have_no_differences() -> None:
    values: dict[str, Any] = {"runs": {R1: (T1, A)}, "feedback": {R2: B}, "unplaced": {A}}
    assert lines(copy("files", **values), copy("zip", **values)) == []


def test_each_run_that_is_missing_changed_or_too_many_is_named_in_order() -> None:
    files = copy("files", runs={R1: (T1, A), R2: (T1, A)})
    store = copy("store", runs={R3: (T2, A), R2: (T1, B)})
    assert lines(files, store) == [
        f"run {R1} of trace {T1} is missing in store",
        f"run {R2} of trace {T1} differs in store",
        f"run {R3} of trace {T2} is only in store",
    ]


def test_a_run_filed_under_another_trace_differs() -> None:
    assert lines(copy("files", runs={R1: (T1, A)}), copy("store", runs={R1: (T2, A)})) == [
        f"run {R1} of trace {T1} differs in store"
    ]


def test_feedback_is_compared_too() -> None:
    assert lines(copy("files", feedback={R1: A, R2: A}), copy("zip", feedback={R2: B, R3: A})) == [
        f"feedback {R1} is missing in zip",
        f"feedback {R2} differs in zip",
        f"feedback {R3} is only in zip",
    ]


def test_what_is_in_quarantine_is_not_missing() -> None:
    files = copy("files", runs={R1: (T1, A)}, feedback={R2: B}, unplaced={content_hash(b"c")})
    assert lines(files, copy("store", quarantined={A, B, content_hash(b"c")})) == []


def test_another_version_in_quarantine_does_not_excuse_a_missing_run() -> None:
    assert lines(copy("files", runs={R1: (T1, A)}), copy("store", quarantined={B})) == [
        f"run {R1} of trace {T1} is missing in store"
    ]


def test_a_run_without_a_trace_that_is_missing_is_named_by_its_content() -> None:
    assert lines(copy("files", unplaced={A}), copy("zip")) == [
        f"unplaced run with content {A} is missing in zip"
    ]


def test_damage_comes_first() -> None:
    zipped = copy("zip", damage=["x.json is damaged: it ends too early."])
    assert lines(copy("files", runs={R1: (T1, A)}), zipped) == [
        "zip: x.json is damaged: it ends too early.",
        f"run {R1} of trace {T1} is missing in zip",
    ]
    assert list(damage(zipped)) == [Difference("damaged", "zip", "x.json is damaged: it ends too early.")]


inventories = st.dictionaries(
    st.sampled_from([R1, R2, R3]), st.tuples(st.sampled_from([T1, T2]), st.sampled_from([A, B]))
)


@given(inventories, inventories)
def test_there_are_differences_exactly_when_the_copies_differ(one: Any, other: Any) -> None:
    found = list(compare(copy("files", runs=one), copy("store", runs=other)))
    differing = {run for run in one.keys() | other.keys() if one.get(run) != other.get(run)}
    traces = [re.search(r"with its (\d+) runs", difference.item) for difference in found]
    assert sum(int(trace[1]) if trace else 1 for trace in traces) == len(differing)
