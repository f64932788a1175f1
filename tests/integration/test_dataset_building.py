"""Datasets from a real store: the labels that are true, the same bytes whatever the order, no sorting."""

import json
import random
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lab import DAY as SAMPLE_DAY
from lab import KEY, Lab
from labelled_traces import DAY, PROJECT, Review, reviews

from lse.datasets import NoExamples
from lse.errors import LseError, TemporaryError
from lse.models import ProjectDay
from lse.pipeline.evaluating import (
    DatasetRequest,
    built_datasets,
    create_dataset,
    diff_datasets,
    evaluation_requests,
    run_evaluation,
)
from lse.resources import Resources
from lse.sandbox.sample import write_sample
from lse.settings import load_settings
from lse.store import Store
from lse.store.reading import READING

REQUEST = DatasetRequest(project=PROJECT, start=DAY, end=DAY, recipe="token_name")


def resources(url: str, folder: Path, **flags: Any) -> Resources:
    return Resources(load_settings(database_url=url, archive_dir=folder / "archives", **flags))


def load(url: str, found: list[Review]) -> None:
    Store(url).load(ProjectDay(PROJECT, DAY), [review.trace() for review in found])


def test_the_labels_of_synthetic_reviews_are_recovered_exactly_from_the_store(
    database_url: str, tmp_path: Path
) -> None:
    found = reviews(150)
    load(database_url, found)
    with resources(database_url, tmp_path) as opened:
        record = create_dataset(opened, REQUEST, tmp_path / "d.jsonl")
    examples = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    truth = {review.trace_id: review.labels for review in found if review.labels is not None}
    assert {one["metadata"]["trace_id"]: one["outputs"] for one in examples} == truth
    assert (record.considered, record.examples) == (150, len(truth))
    assert record.name == "token-review_token_name_2025-09-13_2025-09-13"


def test_runs_that_were_loaded_in_another_order_give_the_same_bytes(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    from lse.store import migrate

    migrate.upgrade(empty_database_url)
    shuffled = reviews(80)
    random.Random(3).shuffle(shuffled)
    load(database_url, reviews(80))
    for first in range(0, 80, 16):
        load(empty_database_url, shuffled[first : first + 16])
    files = []
    for number, url in enumerate((database_url, empty_database_url)):
        with resources(url, tmp_path / str(number)) as opened:
            files.append(tmp_path / f"{number}.jsonl")
            create_dataset(opened, REQUEST, files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_build_is_kept_and_compared_with_a_later_one(database_url: str, tmp_path: Path) -> None:
    load(database_url, reviews(40))
    with resources(database_url, tmp_path) as opened:
        first = create_dataset(opened, REQUEST)
        again = create_dataset(opened, REQUEST)
        assert (first, len(built_datasets(opened.settings))) == (again, 1)
        load(database_url, reviews(60))
        second = create_dataset(opened, REQUEST)
        found = diff_datasets(opened.settings, first.id, second.id)
    assert (len(found.added), found.removed, found.changed) == (second.examples - first.examples, [], {})


@pytest.mark.parametrize("count", [0, 1])
def test_no_example_is_an_error_and_nothing_is_written(database_url: str, tmp_path: Path, count: int) -> None:
    load(database_url, [review for review in reviews(60) if review.labels is None][:count])
    with resources(database_url, tmp_path) as opened, pytest.raises(NoExamples) as error:
        create_dataset(opened, REQUEST, tmp_path / "d.jsonl")
    assert error.value.exit_code == 3
    assert f"{count} traces considered, 0 kept" in error.value.message
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_only_ids_are_sorted_and_no_payload(database_url: str) -> None:
    load(database_url, reviews(300))
    with psycopg.connect(database_url) as connection:
        connection.execute("analyze")
        statement = b"explain " + READING["runs_with_feedback"]
        rows = connection.execute(statement, {"project": PROJECT, "run_date": DAY}).fetchall()
    plan = [line for (line,) in rows]
    assert plan[0].startswith("Nested Loop")
    assert all(int(width) < 100 for width in re.findall(r"Sort .*width=(\d+)", "\n".join(plan)))


def test_the_feedback_of_the_sample_application_becomes_labels_exactly(lab: Lab, tmp_path: Path) -> None:
    day = ProjectDay("scored", SAMPLE_DAY.day)
    [sample] = write_sample(
        lab.sandbox.langsmith.url, KEY, end=day.day, days=1, traces_per_day=20, projects=[day.project]
    ).days
    lab.sweep("upload", day=day)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "scored.yaml").write_text(
        "inputs: {question: {paths: [inputs.question], required: true}}\n"
        "outputs: {score: {paths: [feedback.user_score.score, feedback.correctness.score], required: true}}\n"
    )
    state = lab.sandbox.langsmith.state
    roots = {run.trace_id for run in state.runs.between(state.projects.named(day.project).id)}
    given = state.feedback_store.find(sorted(roots), lambda _: True)
    truth = {item.run_id: item.values["score"] for item in given}
    request = DatasetRequest(project=day.project, start=day.day, end=day.day, recipe="scored")
    with lab.resources(recipes_dir=tmp_path / "recipes") as opened:
        create_dataset(opened, request, tmp_path / "d.jsonl")
        opened.source.close()
    examples = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    assert {one["metadata"]["trace_id"]: one["outputs"]["score"] for one in examples} == truth
    assert len(truth) == sample.feedback > 0


def test_the_sample_application_has_traces_for_each_recipe(lab: Lab) -> None:
    day = ProjectDay("token-review", SAMPLE_DAY.day)
    write_sample(
        lab.sandbox.langsmith.url, KEY, end=day.day, days=1, traces_per_day=20, projects=[day.project]
    )
    lab.sweep("upload", day=day)
    examples = {}
    with lab.resources() as opened:
        for recipe in ("token-name", "website", "availability"):
            request = DatasetRequest(project=day.project, start=day.day, end=day.day, recipe=recipe)
            examples[recipe] = create_dataset(opened, request).examples
        opened.source.close()
    assert examples == {"token-name": 8, "website": 8, "availability": 20}


def test_a_request_to_a_service_that_is_away_is_recorded_with_its_failure(
    database_url: str, tmp_path: Path
) -> None:
    flags = {"eval_endpoint": "http://user:hidden@127.0.0.1:9/evaluate?token=hidden", "eval_secret": "s3cret"}
    with resources(database_url, tmp_path, **flags) as opened:
        with pytest.raises(TemporaryError):
            run_evaluation(opened, "questions", "nightly", "token_name", timeout=1)
        [asked] = evaluation_requests(opened)
    assert (asked.dataset, asked.endpoint, asked.status) == ("questions", "http://127.0.0.1:9/evaluate", None)
    assert asked.failure is not None
    assert "gave no answer" in asked.failure


def test_without_an_endpoint_nothing_is_asked(database_url: str, tmp_path: Path) -> None:
    with (
        resources(database_url, tmp_path) as opened,
        pytest.raises(LseError, match="No evaluation service is set"),
    ):
        run_evaluation(opened, "questions", "nightly", "token_name")
