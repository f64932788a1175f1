"""Reports from the store and from the trace files: equal bytes on random days."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from lse.archive.identity import identify_run
from lse.archive.layout import day_folder
from lse.archive.trace_file import make_trace, write_trace
from lse.models import ProjectDay
from lse.pipeline import load, report
from lse.reports import Request, find_report, report_names
from lse.resources import Resources
from lse.settings import load_settings

FIRST = date(2025, 9, 13)
PROJECTS = ("chat", "Token Review")
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
    Request(FIRST, FIRST + timedelta(days=3), "Token Review"),
    Request(FIRST + timedelta(days=1), FIRST + timedelta(days=1), "chat"),
    Request(FIRST + timedelta(days=9), FIRST + timedelta(days=9)),
]
REPORTS = [(name, form) for name in report_names() for form in find_report(name).FORMATS]


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
        document: dict[str, Any] = {
            "id": run_id,
            "trace_id": trace_id,
            "name": pick(NAMES),
            "status": pick(STATUSES),
            "start_time": pick(
                [start.isoformat(), start.replace(tzinfo=None).isoformat(), f"{start:%Y-%m-%dT%H:%M:%S}Z"]
            ),
            "end_time": None,
            "dotted_order": order,
            "error": pick(ERRORS),
            "inputs": inputs,
            "extra": pick([None, {}, {"metadata": {"symbol": pick(SYMBOLS)}}]),
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
            ]
        )
        return (text[:-1] + "," + odd + "}").encode() if self._random.random() < 0.3 else text.encode()

    def write(self, folder: Path, day: date) -> None:
        """A day of traces, some of which run past midnight and some of which have no root."""
        folder.mkdir(parents=True)
        for _ in range(self._random.randrange(5, 30)):
            trace_id, start = self._id(), datetime(day.year, day.month, day.day, tzinfo=UTC)
            start += timedelta(seconds=self._random.choice([0, 43_200, 86_399]))
            ids = [trace_id] + [self._id() for _ in range(self._random.randrange(6))]
            runs = [
                identify_run(self._run(trace_id, run_id, start + timedelta(seconds=5 * number)))
                for number, run_id in enumerate(ids)
                if number or len(ids) == 1 or self._random.random() < 0.9
            ]
            write_trace(folder, make_trace(UUID(trace_id), runs, []))


@pytest.fixture
def resources(tmp_path: Path, database_url: str) -> Iterator[Resources]:
    with Resources(load_settings(database_url=database_url, data_dir=tmp_path / "data")) as opened:
        yield opened


@pytest.mark.parametrize("seed", range(4))
def test_store_and_files_give_equal_bytes(resources: Resources, seed: int) -> None:
    generator = Generator(seed)
    failures = 0
    for project in PROJECTS:
        for number in range(3):
            day = ProjectDay(project, FIRST + timedelta(days=number))
            generator.write(day_folder(resources.settings.data_dir, day), day.day)
            load(resources, day)
    for name, form in REPORTS:
        for request in REQUESTS:
            texts = [
                report(resources, name, request, origin=origin, form=form) for origin in ("store", "files")
            ]
            assert texts[0] == texts[1], (name, form, str(request), request.project)
            failures += texts[0].count("zenrows_scraper")
    assert failures > 50
