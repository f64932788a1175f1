"""Reports on hundreds of random days: store, trace files and brute force give the same rows."""

import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import brute
import psycopg
import pytest
from fetch_records import fetch_record
from psycopg import conninfo

from lse.archive.fetch_record import write_fetch_record
from lse.archive.identity import identify_run
from lse.archive.layout import day_folder
from lse.archive.reading import read_folder
from lse.archive.trace_file import make_trace, write_trace
from lse.models import ProjectDay, RawFeedback
from lse.models.filter import RunFilter, named
from lse.pipeline import report
from lse.reports import Request
from lse.resources import Resources
from lse.settings import load_settings
from lse.store import Store

FIRST = date(2025, 7, 28)
DAYS = 60
PROJECTS = ("chat", "Token Review")
WINDOW = Request(FIRST, FIRST + timedelta(days=DAYS - 1))


class Writer:
    """Random project days from a seed, written as archives."""

    def __init__(self, folder: Path) -> None:
        self._random = random.Random(7)
        self._folder = folder

    def _id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _run(self, trace_id: str, run_id: str, start: datetime) -> dict[str, Any]:
        pick = self._random.choice
        took = timedelta(microseconds=pick([0, 1, 999, 1500, 2_500_000, self._random.randrange(10**8)]))
        status = pick(["success", "SUCCESS", "success", "error", "pending", "", None])
        metadata = {"ls_model_name": pick(["gpt-4o", "haiku", ""]), "user": pick([1, "ann", True, None, -5])}
        return {
            "id": run_id,
            "trace_id": trace_id,
            "name": pick(["plan", "zenrows_scraper", "a\0b", "=x", "", None, "Plan"]),
            "run_type": pick(["llm", "LLM", "tool", "chain", None]),
            "status": status,
            "start_time": start.isoformat(),
            "end_time": (start + took).isoformat() if status != "pending" else None,
            "dotted_order": f"{start:%Y%m%dT%H%M%S%f}Z{run_id}",
            "tags": pick([None, [], ["a"], ["a", "b"], ["b", "b", "é"]]),
            "error": pick([f"code {self._random.randrange(10**6)}", "boom", None])
            if status == "error"
            else None,
            "prompt_tokens": pick([None, 0, 5, 10**9]),
            "total_tokens": pick([None, 7, 2**40]),
            "total_cost": pick([None, "0.1", "0.000001234567890123456789", "1E-7", 3, "12.50"]),
            "extra": pick([{"metadata": metadata}, {"metadata": metadata}, {}, None]),
        }

    def _feedback(self, run_id: str) -> RawFeedback:
        pick = self._random.choice
        record = {"id": self._id(), "run_id": run_id, "key": pick(["stars", "ok", None])}
        record["score"] = pick([1, 0.5, True, None, 0.123456789012345678])  # type: ignore[assignment]
        return RawFeedback(UUID(record["id"]), UUID(run_id), json.dumps(record).encode())

    def write(self, day: ProjectDay) -> None:
        """A day of a few traces, some of them without their root."""
        folder = day_folder(self._folder, day)
        for _ in range(self._random.randrange(1, 5)):
            trace_id = self._id()
            start = day.start + timedelta(seconds=self._random.randrange(86_400))
            ids = [trace_id, *(self._id() for _ in range(self._random.randrange(5)))]
            ids = ids[1:] if len(ids) > 1 and self._random.random() < 0.1 else ids
            raws = [identify_run(json.dumps(self._run(trace_id, run_id, start)).encode()) for run_id in ids]
            folder.mkdir(parents=True, exist_ok=True)
            said = [self._feedback(self._random.choice(ids)) for _ in range(self._random.randrange(3))]
            write_trace(folder, make_trace(UUID(trace_id), raws, said))
        write_fetch_record(
            folder,
            fetch_record(
                project=day.project,
                date=str(day.day),
                source="test",
                fetched_at=datetime.now(UTC).isoformat(),
                runs=1,
            ),
        )


@pytest.fixture(scope="module")
def resources(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Resources]:
    """Two projects of sixty random days, in files and in a store; the tests only read."""
    data = tmp_path_factory.mktemp("archive") / "data"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"create database lse_brute_force template {template}".encode())
        url = conninfo.make_conninfo(postgres_url, dbname="lse_brute_force")
        with Resources(load_settings(database_url=url, data_dir=data, state_dir=data.parent)) as opened:
            _fill(data, opened.store)
            yield opened
        admin.execute("drop database lse_brute_force with (force)")


def _fill(data: Path, store: Store) -> None:
    writer = Writer(data)
    for day in (ProjectDay(name, FIRST + timedelta(days=n)) for name in PROJECTS for n in range(DAYS)):
        writer.write(day)
        store.load(day, read_folder(day_folder(data, day)).traces())


def both(resources: Resources, name: str, request: Request) -> list[list[str]]:
    """The rows that store and files agree on, as a set would hold them."""
    texts = [report(resources, name, request, origin=origin) for origin in ("store", "files")]
    assert texts[0] == texts[1], (name, request)
    return sorted(list(csv.reader(io.StringIO(texts[0], newline="")))[1:])


def shown(cell: str) -> str:
    """A text as CSV shows it: without what a spreadsheet would take for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "-", "+", "@") else cell


def expected(found: list[brute.Run], by: list[str], measure: Any) -> list[list[str]]:
    rows = {
        key: [shown(cell) for cell in key] + measure(runs) for key, runs in brute.groups(found, by).items()
    }
    return sorted(rows.values())


def errors(runs: list[brute.Run], named: Any = lambda run: True) -> list[str]:
    failed = [run for run in runs if brute.failed(run) and named(run)]
    pending = [run for run in failed if brute.text(run, "status") in ("", "pending")]
    counts = [brute.traces(runs), brute.traces(failed), brute.error_percent(runs, named)]
    return list(map(str, [*counts, len(runs), len(failed), len(pending)]))


def latency(runs: list[brute.Run]) -> list[str]:
    return [str(len(runs)), *(brute.percentile(runs, percent) for percent in (50, 90, 95, 99))]


def sums(*fields: str) -> Any:
    return lambda runs: [str(len(runs)), *(brute.total(runs, field) for field in fields)]


GROUPINGS = [
    *(["day"], ["week"], ["month"], ["project"], ["name"], ["type"], ["status"], ["model"], ["tag"]),
    *(["metadata.user"], ["month", "name"], ["week", "project", "type"], ["tag", "metadata.user"]),
]


def requests() -> Iterator[Request]:
    """Each grouping over all days, over a week, and of one project."""
    week = FIRST + timedelta(days=30)
    for by in GROUPINGS:
        for start, end, project in (
            (WINDOW.start, WINDOW.end, None),
            (week, week + timedelta(days=6), "chat"),
        ):
            yield Request(start, end, project, by=tuple(by))


def test_store_and_files_say_what_brute_force_finds(resources: Resources) -> None:
    answers = 0
    for request in requests():
        by = list(request.by)
        found = list(brute.runs(resources.settings.data_dir, request.start, request.end, request.project))
        models = [run for run in found if brute.text(run, "run_type") == "llm"]
        assert both(resources, "errors", request) == expected(found, by, errors)
        assert both(resources, "latency", request) == expected(found, by, latency)
        tokens = sums("prompt_tokens", "completion_tokens", "total_tokens")
        costs = sums("prompt_cost", "completion_cost", "total_cost")
        if by != ["day"]:  # where days without a run have a row
            assert both(resources, "tokens", request) == expected(models, by, tokens)
            assert both(resources, "cost", request) == expected(models, by, costs)
        answers += len(brute.groups(found, by))
    assert answers > 200


def test_conditions_mean_the_same_everywhere(resources: Resources) -> None:
    conditions: list[tuple[str, Any]] = [
        ("name=plan", lambda run: brute.text(run, "name") == "plan"),
        ("name~lan", lambda run: "lan" in brute.text(run, "name")),
        ("name=", lambda run: brute.text(run, "name") == ""),
        ("status=success", lambda run: not brute.failed(run)),
        ("type=llm", lambda run: brute.text(run, "run_type") == "llm"),
        ("tag=b", lambda run: "b" in (run["tags"] or [])),
        ("tag=", lambda run: not run["tags"]),
        ("tag~é", lambda run: "é" in (run["tags"] or [])),
        ("model=haiku", lambda run: brute.metadata(run, "ls_model_name") == "haiku"),
        ("metadata.user=true", lambda run: brute.metadata(run, "user") == "true"),
        ("error~code", lambda run: "code" in (run["error"] or "")),
    ]
    found = list(brute.runs(resources.settings.data_dir, WINDOW.start, WINDOW.end, None))
    for text, holds in conditions:
        chosen = [run for run in found if holds(run)]
        request = replace(WINDOW, by=("week",), where=RunFilter.parse([text]))
        assert chosen
        assert both(resources, "errors", request) == expected(chosen, ["week"], errors), text
        assert both(resources, "latency", request) == expected(chosen, ["week"], latency), text


def test_a_named_run_fails_and_every_trace_counts(resources: Resources) -> None:
    found = list(brute.runs(resources.settings.data_dir, WINDOW.start, WINDOW.end, None))
    for subject, holds in (
        (named("zenrows_scraper"), lambda run: brute.text(run, "name") == "zenrows_scraper"),
        (named("lan", contains=True), lambda run: "lan" in brute.text(run, "name")),
    ):
        for by in (["day"], ["month", "project"], ["name"]):
            request = replace(WINDOW, by=tuple(by), subject=subject)
            rows = both(resources, "errors", request)
            assert rows == expected(found, by, lambda runs, holds=holds: errors(runs, holds))
    own = both(resources, "zenrows-errors", WINDOW)
    daily = both(resources, "errors", replace(WINDOW, subject=named("zenrows_scraper")))
    assert own == [[*row[:3], f"{row[3]}%"] for row in daily]


def test_errors_are_grouped_and_listed_alike(resources: Resources) -> None:
    found = list(brute.runs(resources.settings.data_dir, WINDOW.start, WINDOW.end, None))
    failed = [run for run in found if brute.failed(run)]
    kinds = {"code <number>": "code", "boom": "boom", "": ""}
    groups = {row[1]: [int(cell) for cell in row[2:4]] for row in both(resources, "error-groups", WINDOW)}
    assert groups == {
        kind: [len(members), brute.traces(members)]
        for kind, begin in kinds.items()
        if (members := [run for run in failed if (run["error"] or "").partition(" ")[0] == begin])
    }
    listed = both(resources, "error-detail", WINDOW)
    assert sorted(row[6] for row in listed) == sorted(run["id"] for run in failed)
    [code] = {row[7] for row in listed if row[8].startswith("code")}
    chosen = both(resources, "error-detail", replace(WINDOW, where=RunFilter.parse([f"fingerprint={code}"])))
    assert [row[6] for row in chosen] == [row[6] for row in listed if row[7] == code]


def test_the_slowest_runs_come_first(resources: Resources) -> None:
    found = list(brute.runs(resources.settings.data_dir, WINDOW.start, WINDOW.end, None))
    took = sorted((value for run in found if (value := brute.seconds(run)) is not None), reverse=True)
    for top in (None, 1, 500):
        rows = both(resources, "slowest", replace(WINDOW, top=top))
        assert sorted((float(row[0]) for row in rows), reverse=True) == [
            round(value, 3) for value in took[: top or 20]
        ]
    for condition in ("name=plan", "status~err", "model=", "metadata.user=ann", "error~code"):
        where = RunFilter.parse([condition])
        assert len(both(resources, "slowest", replace(WINDOW, where=where, top=7))) == 7
        assert both(resources, "slowest", replace(WINDOW, where=where, project=PROJECTS[1], top=500))


def test_feedback_is_counted_and_averaged(resources: Resources) -> None:
    found = list(brute.runs(resources.settings.data_dir, WINDOW.start, WINDOW.end, None))
    for by in (["key"], ["key", "model"], ["month"]):
        said: dict[tuple[str, ...], list[Any]] = {}
        for run in found:
            for record in run["said"]:
                key = [record["key"] or "" if name == "key" else brute.VALUES[name](run)[0] for name in by]
                said.setdefault(tuple(key), []).append(record["score"])
        rows = []
        for key, scores in said.items():
            given = [Decimal(score) for score in scores if score is not None]
            average = round(sum(given) / len(given), 6) if given else None
            shown_average = brute.exact(average) if average is not None else ""
            rows.append([*key, str(len(scores)), str(len(given)), shown_average])
        assert both(resources, "feedback", replace(WINDOW, by=tuple(by))) == sorted(rows)
