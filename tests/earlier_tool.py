"""Writes what an earlier exporter of LangSmith runs left: folders of files, zips, a table. All invented."""

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

Shape = Literal["enhanced", "legacy", "bare"]
MORNING = datetime.fromisoformat("2025-09-13 08:30:00.622037")
SAVED = datetime.fromisoformat("2025-09-14 01:02:03")
SAVED_LATER = datetime.fromisoformat("2025-09-15 00:00:01")

TABLE = """
create table runs (
    id serial primary key, run_id varchar(255) not null unique, trace_id varchar(255) not null,
    project varchar(255) not null, run_date date not null, data jsonb not null,
    created_at timestamp default current_timestamp
)
"""


def uid(number: int) -> str:
    """An id that is easy to read."""
    return str(UUID(int=number))


def run(number: int, trace: int | None = None, start: datetime = MORNING, **changes: Any) -> dict[str, Any]:
    """A run as the SDK's `Run` was dumped: times as Python prints them, ids and costs as text."""
    root = number if trace is None else trace
    stamp = start.strftime("%Y%m%dT%H%M%S%fZ")
    order = f"{stamp}{uid(root)}" if trace is None else f"{stamp}{uid(root)}.{stamp}{uid(number)}"
    values = {
        "id": uid(number),
        "name": "zenrows_scraper" if number % 5 == 4 else f"step {number}",
        "start_time": str(start),
        "run_type": "chain" if trace is None else "tool",
        "end_time": str(start + timedelta(seconds=2)),
        "extra": {"metadata": {"symbol": "BTC"}},
        "error": None,
        "inputs": {"question": f"What is {number}? – ü"},
        "outputs": {"answer": [number, 1.5, None]},
        "parent_run_id": None if trace is None else uid(root),
        "tags": [],
        "attachments": {},
        "session_id": uid(999),
        "child_runs": None,
        "status": "success",
        "total_tokens": 12,
        "total_cost": "0.000125",
        "trace_id": uid(root),
        "dotted_order": order,
    }
    return values | changes


def feedback(number: int, run_number: int, **changes: Any) -> dict[str, Any]:
    """A feedback record as the exporter put it into a run's `feedback_records`."""
    return {
        "id": uid(number),
        "run_id": uid(run_number),
        "key": "helpful",
        "score": 1.0,
        "value": None,
        "comment": "Good sources.",
        "correction": None,
        "feedback_source_type": "api",
        "created_at": "2025-09-13 09:00:00.000001",
        "modified_at": "2025-09-13 09:00:00.000001",
    } | changes


@dataclass(frozen=True)
class SavedFile:
    """One file to be written."""

    values: Mapping[str, Any]
    shape: Shape = "enhanced"
    project: str = "chat"
    at: datetime = SAVED
    """When it was saved, in the exporter's local time"""

    @property
    def name(self) -> str:
        """Its path below the output folder: the day is that of the run's own start."""
        safe = "".join(character for character in self.project if character.isalnum() or character in "-_.")
        day = str(self.values["start_time"])[:10]
        return f"{safe}/{day}/{self.values['id']}_{self.at:%H%M%S}.json"

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        metadata = {
            "extracted_at": self.at.isoformat(),
            "project_name": self.project,
            "run_id": self.values["id"],
            "extractor_version": "0.1.0",
            **({"enhanced_feedback": True} if self.shape == "enhanced" else {}),
        }
        document = self.values if self.shape == "bare" else {"metadata": metadata, "trace": self.values}
        return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def write_folder(folder: Path, files: Iterable[SavedFile]) -> Path:
    """Write `files` and a summary beside them, as a fetch did; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        (path.parent / "_summary.json").write_text('{"operation": {}, "results": {}}')
    return folder


def write_zip(folder: Path, files: Iterable[SavedFile]) -> Path:
    """Write the zip of a project day, as the exporter's `archive zip` did: flat names and the summary."""
    files = list(files)
    safe, day, _ = files[0].name.split("/")
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{safe}_{day}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(Path(file.name).name, file.content)
        archive.writestr("_summary.json", "{}")
    return folder


def write_table(url: str, files: Iterable[SavedFile]) -> None:
    """Make the exporter's table `runs` and fill it."""
    with psycopg.connect(url) as connection:
        connection.execute(TABLE)
        for file in files:
            day = str(file.values["start_time"])[:10]
            row = (file.values["id"], str(file.values["trace_id"]), file.project, day, Jsonb(file.values))
            connection.execute(
                "insert into runs (run_id, trace_id, project, run_date, data) values (%s, %s, %s, %s, %s)",
                row,
            )


def one_day() -> list[SavedFile]:
    """A day of two projects: all shapes, a trace past midnight, feedback, and two versions of a run."""
    late = datetime.fromisoformat("2025-09-13 23:59:59")
    after = datetime.fromisoformat("2025-09-14 00:00:03")
    return [
        SavedFile(run(1, feedback_records=[feedback(901, 1)])),
        SavedFile(run(2, 1), "legacy"),
        SavedFile(run(3, 1), "bare"),
        SavedFile(run(4, 1, status="error", error="403 Client Error: Forbidden")),
        SavedFile(run(4, 1, status="error", error="403 Client Error: Forbidden"), at=SAVED_LATER),
        SavedFile(run(10, start=late)),
        SavedFile(run(11, 10, start=after)),
        SavedFile(run(20), project="Token Review"),
        SavedFile(run(21, 20), "bare", project="Token Review"),
    ]
