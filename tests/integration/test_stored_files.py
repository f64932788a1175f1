"""Attachments and payloads that the server keeps beside a run: archived by content, and filled in on load."""

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lse.archive.layout import content_file_name, content_of_file
from lse.archive.trace_file import read_trace_file
from lse.models import ProjectDay
from lse.pipeline import fetch, load, pack, restore, verify
from lse.resources import Resources
from lse.sandbox.faults import Rule
from lse.sandbox.langsmith import LangSmithServer
from lse.sandbox.sample import write_sample
from lse.settings import Settings, load_settings

DAY = ProjectDay("chat", date(2025, 9, 14))
KEY = "sandbox-key"


@pytest.fixture(params=["v1", "v2"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    """A LangSmith that keeps payloads of more than 100 bytes beside the run, with a day of sample traces."""
    with LangSmithServer(api_key=KEY, offload_bytes=100) as server:
        write_sample(server.url, KEY, end=DAY.day, days=1, traces_per_day=3, projects=(DAY.project,))
        yield server


def settings(server: LangSmithServer, tmp_path: Path, database_url: str, api: str, **more: Any) -> Settings:
    return load_settings(
        langsmith_endpoint=server.url,
        langsmith_api_key=KEY,
        langsmith_api=api,
        langsmith_rate_limit=False,
        data_dir=tmp_path / "data",
        archive_dir=tmp_path / "archives",
        state_dir=tmp_path / "state",
        database_url=database_url,
        **more,
    )


def stored(folder: Path) -> dict[str, bytes]:
    """Content by the hash in its file's name."""
    return {sha: path.read_bytes() for path in folder.iterdir() if (sha := content_of_file(path.name))}


def test_attachments_are_archived_once_by_their_content(
    server: LangSmithServer, tmp_path: Path, database_url: str, api: str
) -> None:
    with Resources(settings(server, tmp_path, database_url, api)) as resources:
        result = fetch(resources, DAY)
        folder = resources.folder(DAY)
        named = [file for path in folder.glob("*_*-*.json") for file in read_trace_file(path).files]
        server.clear_log()
        again = fetch(resources, DAY)

    assert result.state == "done", result.summary
    contents = stored(folder)
    assert all(hashlib.sha256(content).hexdigest() == sha for sha, content in contents.items())
    assert {file.sha256 for file in named} == set(contents)
    screenshots = [file for file in named if file.name == "attachment.screenshot"]
    assert screenshots
    assert all(contents[file.sha256].startswith(b"\x89PNG") for file in screenshots)
    assert again.summary == result.summary
    assert [entry for entry in server.log if entry.operation == "read_blob"] == []


def test_the_key_is_not_sent_with_a_download(
    server: LangSmithServer, tmp_path: Path, database_url: str, api: str
) -> None:
    keyed = Rule(operation="read_blob", match={"header": "(?i)x-api-key"}, times=None, do={"status": 404})
    server.faults.add(keyed)
    with Resources(settings(server, tmp_path, database_url, api)) as resources:
        assert fetch(resources, DAY).state == "done"


def test_an_expired_link_is_asked_for_again(
    server: LangSmithServer, tmp_path: Path, database_url: str, api: str
) -> None:
    server.faults.add(Rule(operation="read_blob", times=1, do={"status": 403}))
    with Resources(settings(server, tmp_path, database_url, api)) as resources:
        assert fetch(resources, DAY).state == "done"


@pytest.mark.parametrize("status", [404, 403])
def test_a_file_that_cannot_be_had_makes_the_day_partial_and_stops_nothing(
    server: LangSmithServer, tmp_path: Path, database_url: str, api: str, status: int
) -> None:
    server.faults.add(Rule(operation="read_blob", times=None, do={"status": status}))
    with Resources(settings(server, tmp_path, database_url, api)) as resources:
        result = fetch(resources, DAY)

    assert (result.state, result.exit_code) == ("partial", 4)
    assert "could not be had" in result.summary


def test_a_file_over_the_limit_is_not_archived_and_said_to_be_missing(
    server: LangSmithServer, tmp_path: Path, database_url: str, api: str
) -> None:
    with Resources(settings(server, tmp_path, database_url, api, file_limit_mb=0)) as resources:
        result = fetch(resources, DAY)
        assert stored(resources.folder(DAY)) == {}

    assert result.state == "partial"


def test_a_redirect_is_not_followed(
    server: LangSmithServer, tmp_path: Path, database_url: str, api: str
) -> None:
    server.faults.add(
        Rule(operation="read_blob", times=None, do={"redirect": "http://127.0.0.1:9/elsewhere"})
    )
    with Resources(settings(server, tmp_path, database_url, api)) as resources:
        assert fetch(resources, DAY).state == "partial"


def test_payloads_kept_beside_the_run_are_in_the_store(
    server: LangSmithServer, tmp_path: Path, database_url: str
) -> None:
    with Resources(settings(server, tmp_path, database_url, "v1")) as resources:
        fetch(resources, DAY)
        load(resources, DAY)
        rows = resources.store.query(
            "select run_id, data from runs where data->>'outputs_s3_urls' is not null", {}
        )
        folder = resources.folder(DAY)
        named = [file for path in folder.glob("*_*-*.json") for file in read_trace_file(path).files]
        contents = stored(folder)

    assert rows
    payloads = {str(file.run_id): contents[file.sha256] for file in named if file.name == "outputs"}
    for row in rows:
        assert row["data"]["outputs"] == json.loads(payloads[str(row["run_id"])])


def test_stored_files_come_back_from_the_zip_and_damage_to_one_is_found(
    server: LangSmithServer, tmp_path: Path, database_url: str
) -> None:
    with Resources(settings(server, tmp_path, database_url, "v1")) as resources:
        for step in (fetch, pack, load):
            assert step(resources, DAY).state == "done"
        assert verify(resources, DAY).state == "done"
        folder = resources.folder(DAY)
        contents = stored(folder)
        sha = sorted(contents)[0]
        (folder / content_file_name(sha)).write_bytes(b"changed")

        damaged = verify(resources, DAY)
        restored = restore(resources, DAY, force=True)
        after = verify(resources, DAY)

    assert (damaged.exit_code, any(sha in line for line in damaged.details)) == (3, True)
    assert restored.state == "done"
    assert stored(folder) == contents
    assert after.exit_code == 0
