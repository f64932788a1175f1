"""Reports from the store and from the trace files: equal bytes on random days."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import conninfo

from lse.archive.identity import identify_run
from lse.archive.layout import day_folder
from lse.archive.trace_file import make_trace, write_trace
from lse.models import ProjectDay
from lse.models.filter import RunFilter, named
from lse.pipeline import load, report
from lse.reports import Request, find_report, report_names
from lse.resources import Resources
from lse.settings import load_settings

FIRST = date(2025, 9, 13)
PROJECTS = ("chat", "token-review")
NAMES = ["zenrows_scraper"] * 4 + ["zenrows_scraper2", "ZENROWS_SCRAPER", "step", "", None, "a\0b", 5]
STATUSES = ["success", "SUCCESS", "error", "Error", "pending", "interrupted", "", None, 5, "a\0"]
SYMBOLS = ["btc", " eth ", "Sol", "=cmd", "a\0b", "", None, 7, ["x"], "ß", "🦜", "x" * 40]
ORDERS = ["", "a", "B", "é", "\uffff", "🦜", "a\0", None, 5, ["x"]]
ERRORS = [
    None,
    "",
    "boom",
    "a\0b",
    "x" * 400,
    {"b": 1, "aa": [1.50, None]},
    ["é"],
    1e3,
    "\x1b[31m\u202e\r\n=1",
]
REQUESTS = [
    Request(FIRST, FIRST + timedelta(days=3)),
    Request(FIRST, FIRST + timedelta(days=3), "token-review"),
    Request(FIRST + timedelta(days=1), FIRST + timedelta(days=1), "chat"),
    Request(FIRST + timedelta(days=9), FIRST + timedelta(days=9)),
]
EVERYTHING = tuple(
    "day week month project name type status model tag error fingerprint metadata.user".split()
)
OPTIONS = [
    *({"by": (by,)} for by in EVERYTHING),
    *({"where": RunFilter.parse([text])} for text in ("name=", "tag~b", "error~boom", "metadata.user=1.50")),
    {"by": ("error", "day"), "where": RunFilter.parse(["status=error"]), "subject": named("step")},
    {"by": ("metadata.) s%", "tag"), "where": RunFilter.parse(["fingerprint=81f52337eb"])},
    {"top": 2, "subject": named("scraper", contains=True)},
    {"by": ("project", "metadata.user"), "new_since": FIRST + timedelta(days=1)},
]
FORMS = ("csv", "json", "markdown", "text")
"""Those that say nothing of coverage, or in which it can be left out."""
REPORTS = [(name, form) for name in report_names() for form in find_report(name).FORMATS if form in FORMS]


def without_coverage(text: str) -> Any:
    """A JSON document without what store and files each know of the days."""
    document = json.loads(text)
    document.pop("coverage", None)
    return document


class Generator:
    """Random traces from a seed, in both of LangSmith's shapes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _run(self, trace_id: str, run_id: str, start: datetime) -> bytes:
        pick = self._random.choice
        order = pick([*ORDERS, f"{start:%Y%m%dT%H%M%S%f}Z{run_id}", f"{start:%Y%m%dT%H%M%S%f}Z{run_id}"])
        inputs = pick(
            [None, [], "text", {}, {"crypto_symbol": pick(SYMBOLS), "url": pick(["http://[x", None, "a\nb"])}]
        )
        users = [None, "", "a\0b", True, 1.50, -0.0, 1e3, ["x", {"b": 1, "aa": 2}]]
        metadata = {
            "symbol": pick(SYMBOLS),
            "user": pick(users),
            "ls_model_name": pick(["gpt", "", 5, "a\0"]),
        }
        document: dict[str, Any] = {
            "id": run_id,
            "trace_id": trace_id,
            "name": pick(NAMES),
            "status": pick(STATUSES),
            "start_time": pick(
                [start.isoformat(), start.replace(tzinfo=None).isoformat(), f"{start:%Y-%m-%dT%H:%M:%S}Z"]
            ),
            "end_time": pick([None, "later", start.isoformat(), "2025-09-20T00:00:00.000001Z"]),
            "run_type": pick(["LLM", "llm", "tool", "", None, 5]),
            "tags": pick([None, [], ["a", "a", "b\0"], ["a", 5], "a"]),
            "total_tokens": pick([None, 3, 2**63 - 1, 2**63, -1, 1.5, "7"]),
            "total_cost": pick([None, 0.1, "0.00000000001", "NaN", 1e300, "1E-900", True, -0.0]),
            "dotted_order": order,
            "error": pick(ERRORS),
            "inputs": inputs,
            "extra": pick([None, {}, ["x"], {"metadata": metadata}, {"metadata": ["user"]}]),
            "metadata": pick([None, {"user": "v2"}, metadata]),
        }
        if self._random.random() < 0.1:
            del document[pick(["name", "status", "dotted_order", "error"])]
        text = json.dumps(document, ensure_ascii=self._random.random() < 0.5)
        odd = pick(
            [
                '"x":[-0,1e400,123456789012345678901234567890]',
                '"x":1e5000',
                '"status":"error"',
                '"x":"\\u0000"',
                '"extra":{"metadata":{"user":"\\ud800","symbol":null}}',
            ]
        )
        return (text[:-1] + "," + odd + "}").encode() if self._random.random() < 0.3 else text.encode()

    def write(self, folder: Path, day: date) -> None:
        """A day of traces, some of which run past midnight and some of which have no root."""
        folder.mkdir(parents=True)
        for _ in range(self._random.randrange(5, 30)):
            trace_id, start = self._id(), datetime(day.year, day.month, day.day, tzinfo=UTC)
            start += timedelta(seconds=self._random.choice([0, 0.5, 43_200.000001, 86_399]))
            ids = [trace_id] + [self._id() for _ in range(self._random.randrange(6))]
            runs = [
                identify_run(self._run(trace_id, run_id, start + timedelta(seconds=5 * number)))
                for number, run_id in enumerate(ids)
                if number or len(ids) == 1 or self._random.random() < 0.9
            ]
            write_trace(folder, make_trace(UUID(trace_id), runs, []))


@pytest.fixture
def resources(tmp_path: Path, database_url: str) -> Iterator[Resources]:
    """A store on a server that would write and read times in its own way, and a folder for trace files."""
    url = conninfo.make_conninfo(database_url, options="-c DateStyle=German -c TimeZone=Asia/Tokyo")
    with Resources(load_settings(database_url=url, data_dir=tmp_path / "data")) as opened:
        yield opened


@pytest.mark.parametrize(("seed", "form"), list(enumerate(FORMS)))
def test_store_and_files_give_equal_bytes(resources: Resources, seed: int, form: str) -> None:
    generator = Generator(seed)
    failures = 0
    for project in PROJECTS:
        for number in range(3):
            day = ProjectDay(project, FIRST + timedelta(days=number))
            generator.write(day_folder(resources.settings.data_dir, day), day.day)
            load(resources, day)
    for name in [name for name, known in REPORTS if known == form]:
        for request in REQUESTS:
            texts = [
                report(resources, name, request, origin=origin, form=form) for origin in ("store", "files")
            ]
            rows = [without_coverage(text) if form == "json" else text for text in texts]
            assert rows[0] == rows[1], (name, form, request)
            failures += texts[0].count("scraper")
    assert failures > 10


def test_any_option_gives_equal_bytes(resources: Resources) -> None:
    generator = Generator(11)
    for number in range(3):
        day = ProjectDay("chat", FIRST + timedelta(days=number))
        generator.write(day_folder(resources.settings.data_dir, day), day.day)
        load(resources, day)
    for name in ("errors", "error-groups", "error-detail", "slowest"):
        for options in OPTIONS:
            request = replace(REQUESTS[0], **options)
            texts = [
                report(resources, name, request, origin=origin, form="csv") for origin in ("store", "files")
            ]
            assert texts[0] == texts[1], (name, options)


def test_of_runs_that_are_all_of_one_kind_the_slowest_are_listed_as_well(resources: Resources) -> None:
    day = ProjectDay("chat", FIRST)
    ids = [str(UUID(int=number, version=4)) for number in range(1, 5)]
    runs = [
        identify_run(
            json.dumps(
                {
                    **{"id": run_id, "trace_id": ids[0], "name": "plan", "run_type": "chain"},
                    **{"start_time": f"{FIRST}T10:00:00Z", "end_time": f"{FIRST}T10:00:{seconds}Z"},
                }
            ).encode()
        )
        for run_id, seconds in zip(ids, ["59", "30", "01.5", "00"], strict=True)
    ]
    folder = day_folder(resources.settings.data_dir, day)
    folder.mkdir(parents=True)
    write_trace(folder, make_trace(UUID(ids[0]), runs, []))
    load(resources, day)
    for origin in ("store", "files"):
        for top, seconds in ((3, ["59.0", "30.0", "1.5"]), (None, ["59.0", "30.0", "1.5", "0.0"])):
            text = str(report(resources, "slowest", Request(FIRST, FIRST, top=top), origin=origin))
            assert [line.split(",")[0] for line in text.splitlines()[1:]] == seconds
