"""How traces become examples: which value counts, which trace qualifies, what is left out."""

import json
import random
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_traces import PROJECT, reviews

from lse.datasets import (
    Confidence,
    Deduplicate,
    Feedback,
    Field,
    NoExamples,
    Recipe,
    Rules,
    Sample,
    Split,
    TracedRun,
)
from lse.datasets._building import Built, build
from lse.datasets._feedback import records_of, verdict_of
from lse.datasets._paths import parse_path, value_at
from lse.datasets._recipes import find_recipe
from lse.errors import UsageError
from lse.models import ProjectDay

DAY = ProjectDay(PROJECT, date(2025, 9, 13))
ANSWER = Rules(
    inputs={"question": Field(paths=("inputs.question",))},
    outputs={"answer": Field(paths=("outputs.answer",))},
)


def recipe(rules: Rules = ANSWER) -> Recipe:
    return Recipe("test", rules, None, "0" * 64)


def run(
    trace: int, number: int = 0, feedback: list[dict[str, Any]] | None = None, **members: Any
) -> TracedRun:
    run_id = f"{trace}-{number}" if number else str(trace)
    document = {"id": run_id, "status": "success", "dotted_order": f"{trace}.{number}", **members}
    return TracedRun(
        str(trace),
        run_id,
        trace * 1_000_000,
        json.dumps(document),
        json.dumps(feedback) if feedback else None,
    )


def examples(rows: list[TracedRun], rules: Rules = ANSWER) -> list[dict[str, Any]]:
    with build(iter([(DAY, iter(rows))]), recipe(rules), "w") as built:
        return [json.loads(line) for line in built.lines()]


def dropped(rows: list[TracedRun], rules: Rules) -> str:
    with pytest.raises(NoExamples) as error, build(iter([(DAY, iter(rows))]), recipe(rules), "w"):
        pass
    return error.value.message


def outputs(rows: list[TracedRun], rules: Rules = ANSWER) -> list[Any]:
    return [example["outputs"] for example in examples(rows, rules)]


# --- values


def test_a_child_fills_a_gap_and_never_overwrites_the_root() -> None:
    rows = [
        run(1, inputs={"question": "why"}, outputs={"answer": False}),
        run(1, 1, outputs={"answer": True}),
        run(2, inputs={"question": "how"}, outputs={"answer": None}),
        run(2, 2, outputs={"answer": "second"}),
        run(2, 1, outputs={"answer": "first"}),
    ]
    assert outputs(rows) == [{"answer": False}, {"answer": "first"}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    root=JSON.filter(lambda value: value is not None), children=st.lists(JSON, max_size=4), seed=st.integers()
)
def test_whatever_the_root_says_stands_whatever_its_children_say(
    root: Any, children: list[Any], seed: int
) -> None:
    rows = [run(1, outputs={"answer": root})]
    rows += [run(1, number, outputs={"answer": value}) for number, value in enumerate(children, 1)]
    random.Random(seed).shuffle(rows)
    assert outputs(rows) == [{"answer": json.loads(json.dumps(root))}]


def test_an_example_says_where_it_is_from() -> None:
    [example] = examples([run(1, outputs={"answer": 1}), run(1, 1, inputs={"question": "why"}), run(1, 2)])
    assert example["metadata"] == {
        "trace_id": "1",
        "run_ids": ["1", "1-1"],
        "project": "token-review",
        "date": "2025-09-13",
        "window": "w",
        "eval_type": "test",
        "recipe_sha256": "0" * 64,
    }


def test_numbers_keep_their_digits() -> None:
    text = '{"id": "1", "outputs": {"answer": [1.50, 123456789012345678901234567890, 0.1]}}'
    with build(iter([(DAY, iter([TracedRun("1", "1", 0, text, None)]))]), recipe(), "w") as built:
        [line] = built.lines()
    assert b'"answer":[1.50,123456789012345678901234567890,0.1]' in line


def test_a_field_may_look_at_runs_of_one_name_or_type_only() -> None:
    rules = Rules(inputs={"prompt": Field(paths=("inputs.prompt",), run_type="llm")}, outputs={})
    rows = [
        run(1, run_type="chain", inputs={"prompt": "outer"}),
        run(1, 1, run_type="llm", inputs={"prompt": "inner"}),
    ]
    assert examples(rows, rules)[0]["inputs"] == {"prompt": "inner"}


def test_a_default_stands_for_a_gap_and_is_named() -> None:
    rules = Rules(inputs={}, outputs={"bad": Field(paths=("outputs.bad",), kind="boolean", default=False)})
    [example] = examples([run(1, outputs={"bad": "perhaps"})], rules)
    assert example["outputs"] == {"bad": False}
    assert example["metadata"]["defaulted"] == ["outputs.bad"]


def test_a_trace_without_a_required_value_or_with_a_blank_one_is_dropped() -> None:
    rules = Rules(inputs={"url": Field(paths=("inputs.url",), required=True)}, outputs={})
    said = dropped([run(1), run(2, inputs={"url": " "}), run(3, inputs={"url": None})], rules)
    assert (
        said == "No trace became an example: 3 traces considered, 0 kept; 3 dropped: no value for inputs.url."
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("inputs.messages[-1].content", "bye"),
        ('$.inputs["odd.key"]', 1),
        ("inputs.*.content", None),
        ("inputs.messages[*]", None),
        ("inputs.messages.*.content", "hi"),
        ("inputs.messages[7]", None),
        ("inputs.missing.deeper", None),
    ],
)
def test_a_path_leads_to_a_value(path: str, value: Any) -> None:
    document = {"inputs": {"messages": [{"content": "hi"}, {"content": "bye"}], "odd.key": 1}}
    if path == "inputs.messages[*]":
        with pytest.raises(UsageError):
            parse_path(path)
    else:
        assert value_at(document, parse_path(path)) == value


# --- which traces qualify


def test_a_trace_without_its_root_or_of_another_status_or_kind_is_dropped() -> None:
    rules = Rules(inputs={}, outputs={}, statuses=("success",), where=("name=agent", "tag=live"))
    base = {"trace_id": "0199f000-0000-7000-8000-000000000001", "start_time": "2025-09-13T10:00:00"}
    base["id"] = base["trace_id"]

    def root(**members: Any) -> TracedRun:
        document = {**base, "status": "success", "name": "agent", "tags": ["live"], **members}
        return TracedRun(base["id"], base["id"], 0, json.dumps(document), None)

    assert "no root run" in dropped([run(1, 1)], rules)
    assert "status is not success" in dropped([root(status="error")], rules)
    assert "not name=agent" in dropped([root(name="other")], rules)
    assert "not tag=live" in dropped([root(tags=None)], rules)
    assert len(examples([root()], rules)) == 1


VERDICT = Feedback(
    key="verdict",
    verdicts=("PASS", "FAIL"),
    comment_pattern=r"verdict:\s*(\w+)",
    agrees_with=("outputs.decision",),
)


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ({"comment": "Human verdict: PASS"}, "PASS"),
        ({"comment": "verdict: fail, no: verdict: pass and some more"}, "PASS"),
        ({"comment": "verdict: maybe"}, None),
        ({"value": "fail"}, "FAIL"),
        ({"value": {"verdict": "Pass "}}, "PASS"),
        ({"correction": {"verdict": "FAIL"}, "value": "PASS", "comment": "verdict: PASS"}, "FAIL"),
        ({"score": 1}, None),
        ({}, None),
    ],
)
def test_a_verdict_is_read_from_the_whole_record(record: dict[str, Any], verdict: str | None) -> None:
    assert verdict_of(record, VERDICT) == verdict


def test_a_score_is_a_verdict_when_the_recipe_says_from_where_on() -> None:
    rule = Feedback(key="user_score", pass_from=0.5)
    assert [verdict_of({"score": score}, rule) for score in (0.5, 0.49, None, True)] == [
        "PASS",
        "FAIL",
        None,
        "PASS",
    ]


def test_comments_in_statistics_stand_in_for_records_that_were_not_archived() -> None:
    stats = {"verdict": {"n": 1, "avg": 1.0, "comments": ["verdict: PASS"]}, "other": {"n": 3, "avg": 0.2}}
    assert [record["comment"] for record in records_of([], stats)] == ["verdict: PASS"]
    sent = [{"id": "f", "key": "verdict", "comment": "verdict: FAIL"}]
    assert [record["comment"] for record in records_of(sent, stats)] == ["verdict: FAIL"]


def judged(*comments: str, source: str = "app") -> list[dict[str, Any]]:
    return [
        {
            "id": str(n),
            "key": "verdict",
            "comment": text,
            "modified_at": f"2025-09-13T0{n}",
            "feedback_source": {"type": source},
        }
        for n, text in enumerate(comments)
    ]


def test_a_verdict_must_be_there_and_agree_with_the_decision() -> None:
    rules = Rules(inputs={}, outputs={}, feedback=VERDICT)
    decided = {"decision": "pass"}
    assert "no feedback verdict" in dropped([run(1, outputs=decided)], rules)
    assert "has no verdict" in dropped([run(1, feedback=judged("hm"), outputs=decided)], rules)
    assert "not the application's decision" in dropped(
        [run(1, feedback=judged("verdict: FAIL"), outputs=decided)], rules
    )
    assert len(examples([run(1, feedback=judged("verdict: PASS"), outputs=decided)], rules)) == 1


def test_of_several_verdicts_the_latest_counts_or_all_must_agree() -> None:
    rows = [run(1, feedback=judged("verdict: FAIL", "verdict: PASS")[::-1], outputs={"decision": "PASS"})]
    assert len(examples(rows, Rules(inputs={}, outputs={}, feedback=VERDICT))) == 1
    unanimous = Feedback(key="verdict", comment_pattern=r"verdict:\s*(\w+)", several="unanimous")
    assert "the verdicts disagree" in dropped(rows, Rules(inputs={}, outputs={}, feedback=unanimous))


def test_feedback_from_other_sources_does_not_count_where_the_recipe_names_some() -> None:
    rules = Rules(
        inputs={},
        outputs={},
        feedback=Feedback(key="verdict", comment_pattern=r"verdict:\s*(\w+)", sources=("app",)),
    )
    assert "no feedback" in dropped([run(1, feedback=judged("verdict: PASS", source="model"))], rules)


def test_feedback_stands_in_the_metadata_without_the_name_of_who_gave_it() -> None:
    rules = Rules(inputs={}, outputs={"label": Field(paths=("feedback.verdict.verdict",))}, feedback=VERDICT)
    [example] = examples([run(1, feedback=judged("verdict: PASS"), outputs={"decision": "PASS"})], rules)
    assert example["outputs"] == {"label": "PASS"}
    assert example["metadata"]["feedback"] == [
        {"key": "verdict", "comment": "verdict: PASS", "source": "app", "run_id": "1", "verdict": "PASS"}
    ]


@pytest.mark.parametrize(
    ("confidence", "kept"),
    [(0.7, True), ("0.70", True), (0.69999, False), (None, False), ("high", False), (True, False)],
)
def test_confidence_must_reach_the_bound(confidence: Any, kept: bool) -> None:
    rules = Rules(inputs={}, outputs={}, confidence=Confidence(paths=("outputs.confidence",), at_least=0.7))
    rows = [run(1, outputs={"confidence": confidence})]
    assert (len(examples(rows, rules)) == 1) if kept else ("confidence" in dropped(rows, rules))


# --- the synthetic token reviews


def review_rows(count: int) -> Iterator[TracedRun]:
    return (row for review in reviews(count) for row in review.rows())


def built_labels(built: Built, names: dict[str, str]) -> dict[str, dict[str, bool]]:
    found = [json.loads(line) for line in built.lines()]
    return {
        one["metadata"]["trace_id"]: {names[name]: one["outputs"][name] for name in names} for one in found
    }


@pytest.mark.parametrize(
    ("name", "conflict"), [("token_name", "has_conflict"), ("website", "has_trademark_conflict")]
)
def test_the_labels_of_synthetic_reviews_are_recovered_exactly(name: str, conflict: str) -> None:
    truth = {review.trace_id: review.labels for review in reviews(400) if review.labels}
    with build(iter([(DAY, review_rows(400))]), find_recipe(name), "w") as built:
        names = {"is_meme": "is_meme", "is_explicit": "is_explicit", conflict: "has_conflict"}
        assert built_labels(built, names) == truth
        assert built.summary.considered == 400
        assert built.summary.kept + sum(built.summary.dropped.values()) == 400


@given(seed=st.integers())
def test_the_order_of_traces_and_runs_does_not_change_a_byte(seed: int) -> None:
    rng = random.Random(seed)
    found = [review.rows() for review in reviews(40)]
    rng.shuffle(found)
    for rows in found:
        rng.shuffle(rows)
    rules = find_recipe("token_name").rules
    mixed = Recipe("token_name", rules, None, "r")
    shuffled = (row for rows in found for row in rows)
    with (
        build(iter([(DAY, review_rows(40))]), mixed, "w") as one,
        build(iter([(DAY, shuffled)]), mixed, "w") as other,
    ):
        assert one.sha256 == other.sha256
        assert b"".join(one.lines()) == b"".join(other.lines())


def test_a_correction_by_a_person_wins_over_what_the_application_said() -> None:
    corrected = {"id": "f", "key": "final_verdict", "value": "PASS", "correction": {"is_meme": True}}
    said = {"final_decision": "PASS", "confidence": 1, "name_analysis": {"meme_check": {"is_meme": False}}}
    with build(
        iter([(DAY, iter([run(1, feedback=[corrected], outputs=said)]))]), find_recipe("token-name"), "w"
    ) as built:
        [example] = map(json.loads, built.lines())
    assert example["outputs"]["is_meme"] is True


# --- availability


def availability(name: str = "availability", **traces: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [
        run(
            number,
            inputs={"input_data": {"website_url": value.get("url", f"https://{key}.example")}},
            outputs=value["outputs"],
        )
        for number, (key, value) in enumerate(traces.items(), 1)
    ]
    with build(iter([(DAY, iter(rows))]), find_recipe(name), "w") as built:
        return [json.loads(line) for line in built.lines()]


def test_pages_that_were_scraped_do_not_overrule_what_a_run_states() -> None:
    stated = {"website_analysis": {"is_available": False, "project_info": {"name": "x"}}}
    assert availability(one={"outputs": stated})[0]["outputs"] == {
        "is_available": False,
        "notes": "Website not accessible - analysis completed",
    }


def test_availability_that_no_run_states_is_derived_and_named() -> None:
    [scraped, decided] = availability(
        one={"outputs": {"website_analysis": {"project_info": {"name": "x"}}}},
        two={"outputs": {"final_decision": "FAIL"}},
    )
    assert scraped["outputs"] == {
        "is_available": True,
        "notes": "Website accessible - content successfully scraped",
    }
    assert decided["outputs"] == {"is_available": False, "notes": "Website may be unavailable"}
    assert scraped["metadata"]["derived"] == ["is_available", "notes"]


def test_a_trace_that_says_nothing_of_availability_is_dropped() -> None:
    with pytest.raises(NoExamples, match=r"no value for outputs\.is_available"):
        availability(one={"outputs": {"text": "error: timeout"}})


def best_100(negatives: int, positives: int, domains: int) -> list[dict[str, Any]]:
    traces: dict[str, dict[str, Any]] = {}
    for n in range(positives):
        traces[f"p{n}"] = {
            "url": f"https://www.d{n % domains}.example/{n}",
            "outputs": {"is_available": True},
        }
    for n in range(negatives):
        traces[f"n{n}"] = {"url": f"http://bad{n}.example/", "outputs": {"is_available": False}}
    return availability("availability-best-100", **traces)


def test_the_best_hundred_keep_every_negative_and_add_recent_positives_of_different_domains() -> None:
    found = best_100(negatives=30, positives=200, domains=90)
    kept = [one["inputs"]["website_url"] for one in found if one["outputs"]["is_available"]]
    assert (len(found), len(kept)) == (100, 70)
    assert {url.split("/")[-1] for url in kept} == {str(n) for n in range(130, 200)}


def test_the_best_hundred_are_fewer_when_there_are_not_enough_domains() -> None:
    assert len(best_100(negatives=5, positives=50, domains=3)) == 8


def test_more_than_a_hundred_negatives_are_all_kept_and_no_positive_is_added() -> None:
    found = best_100(negatives=120, positives=20, domains=20)
    assert [one["outputs"]["is_available"] for one in found] == [False] * 120


def test_a_website_that_was_once_unreachable_counts_as_such() -> None:
    [one] = availability(
        "availability-best-100",
        a={"url": "https://www.Same.example/", "outputs": {"is_available": False}},
        b={"url": "http://same.example", "outputs": {"is_available": True}},
    )
    assert one["outputs"]["is_available"] is False


# --- duplicates, samples, parts


def questions(*texts: str | None) -> list[TracedRun]:
    return [run(n, inputs={"question": text}, outputs={"answer": n}) for n, text in enumerate(texts, 1)]


@pytest.mark.parametrize(("keep", "answers"), [("latest", [2, 3, 4, 5]), ("earliest", [1, 3, 4, 5])])
def test_of_equal_examples_one_is_kept_and_those_without_a_key_all_are(keep: Any, answers: list[int]) -> None:
    rules = Rules(
        **{**fields_of(ANSWER), "deduplicate": Deduplicate(by=("inputs.question|lower",), keep=keep)}
    )
    rows = questions("Why", "why ", "how", None, None)
    assert [one["answer"] for one in outputs(rows, rules)] == answers


def fields_of(rules: Rules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in rules.__struct_fields__}


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=5), total=st.integers(1, 60))
def test_a_sample_represents_each_stratum_in_proportion(sizes: list[int], total: int) -> None:
    texts = [f"kind {kind}" for kind, size in enumerate(sizes) for _ in range(size)]
    if not texts:
        return
    rules = Rules(**{**fields_of(ANSWER), "sample": Sample(total=total, per="inputs.question")})
    found = examples(questions(*texts), rules)
    assert len(found) == min(total, len(texts))
    for kind, size in enumerate(sizes):
        share = min(1, total / len(texts)) * size
        assert abs(sum(one["inputs"]["question"] == f"kind {kind}" for one in found) - share) < 1


def test_the_part_of_an_example_does_not_depend_on_the_others() -> None:
    rules = Rules(**{**fields_of(ANSWER), "split": Split(parts={"train": 8, "test": 2})})
    some, more = examples(questions(*"abc"), rules), examples(questions(*"abcdefghij" * 20), rules)
    assert [one["metadata"]["dataset_split"] for one in more[:1]] == [some[0]["metadata"]["dataset_split"]]
    train = sum(one["metadata"]["dataset_split"] == ["train"] for one in more)
    assert 140 < train < 180


def test_each_part_has_its_share_of_a_sample() -> None:
    rules = Rules(
        **{**fields_of(ANSWER), "split": Split(parts={"train": 8, "test": 2}), "sample": Sample(total=200)}
    )
    found = examples(questions(*"abcdefghij" * 100), rules)
    assert 140 < sum(one["metadata"]["dataset_split"] == ["train"] for one in found) < 180


def test_equal_keys_go_into_the_same_part() -> None:
    rules = Rules(**{**fields_of(ANSWER), "split": Split(parts={"a": 1, "b": 1}, by="inputs.question")})
    found = examples(questions(*"abcdef" * 5), rules)
    parts = {(one["inputs"]["question"], one["metadata"]["dataset_split"][0]) for one in found}
    assert len(parts) == 6
