"""`lse archive to-db` as it is typed: batch size, overwrite, dry run, verbose, and the target's copy."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_store import DAY, run, run_id, trace
from typer.testing import CliRunner

from lse.archive.layout import day_folder
from lse.archive.trace_file import write_trace
from lse.cli.app import app
from lse.pipeline import pack, upload
from lse.resources import Resources
from lse.settings import load_settings
from lse.store import Store


@pytest.fixture
def archived(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a day with three runs; the database and a directory target are set."""
    (tmp_path / "target").mkdir()
    for name, value in {
        "LSE_DATABASE_URL": database_url,
        "LSE_DATA_DIR": str(tmp_path / "data"),
        "LSE_ARCHIVE_DIR": str(tmp_path / "archives"),
        "LSE_STATE_DIR": str(tmp_path / "state"),
        "LSE_TARGET": f"directory:{tmp_path / 'target'}",
    }.items():
        monkeypatch.setenv(name, value)
    folder = day_folder(tmp_path / "data", DAY)
    folder.mkdir(parents=True)
    root = run(1, run_id(1), dotted_order=f"20250913T101112500000Z{run_id(1)}")
    write_trace(folder, trace(root, run(2, run_id(1)), run(3, run_id(1))))
    return folder


def to_db(*options: str) -> tuple[dict[str, Any], str]:
    """What `lse archive to-db --json` says on stdout, and on stderr."""
    command = ["archive", "to-db", "--project", "chat", "--date", "2025-09-13", "--json", *options]
    done = CliRunner().invoke(app, command)
    logging.getLogger("lse").handlers.clear()
    logging.getLogger("lse").propagate = True
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_a_dry_run_writes_nothing_and_says_what_it_would_be(archived: Path, store: Store) -> None:
    said, _ = to_db("--dry-run")
    assert said["state"] == "unchanged"
    assert said["summary"] == ("nothing is written; it would be 3 runs inserted, 0 updated, 0 unchanged")
    assert (said["figures"]["inserted"], said["figures"]["dry_run"]) == (3, True)
    assert store.query("select count(*) from runs", {}) == [{"count": 0}]
    assert store.ledger(DAY) is None


def test_overwriting_writes_what_is_unchanged(archived: Path) -> None:
    to_db()
    assert to_db()[0]["summary"] == "0 runs inserted, 0 updated, 3 unchanged"
    assert to_db("--overwrite")[0]["summary"] == "0 runs inserted, 3 updated, 0 unchanged"


def test_verbose_tells_of_each_batch_on_stderr(archived: Path) -> None:
    _, said = to_db("--batch-size", "2", "--verbose")
    batches = [line for line in said.splitlines() if line.startswith("lse: chat/2025-09-13: ")]
    assert [line.partition(" in ")[0] for line in batches] == [
        "lse: chat/2025-09-13: 2 runs, 0.0 MB",
        "lse: chat/2025-09-13: 1 runs, 0.0 MB",
    ]
    assert batches[0].endswith(": 2 inserted, 0 updated, 0 unchanged, 0 kept, 0 feedback")


def test_verbose_says_that_nothing_is_to_be_sent(archived: Path, tmp_path: Path) -> None:
    with Resources(load_settings()) as resources:
        pack(resources, DAY)
    shutil.rmtree(tmp_path / "data")
    to_db()
    assert to_db("--verbose")[1].splitlines() == [
        "lse: chat/2025-09-13: this content is loaded already, and its rows are as they were."
    ]


def test_a_day_that_is_only_in_the_target_is_loaded_from_there(archived: Path, tmp_path: Path) -> None:
    with Resources(load_settings()) as resources:
        pack(resources, DAY)
        upload(resources, DAY)
    shutil.rmtree(tmp_path / "data")
    shutil.rmtree(tmp_path / "archives")
    assert to_db()[0]["summary"] == "3 runs inserted, 0 updated, 0 unchanged"
    assert not (tmp_path / "data").exists()
