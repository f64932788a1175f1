"""Names of folders and files made of names that strangers chose."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.archive.layout import (
    archive_name,
    archived_days,
    archived_files,
    content_file_name,
    content_of_file,
    day_folder,
    project_slug,
    trace_file_name,
    trace_files,
    trace_of_file,
)
from lse.models import ProjectDay

DAY = date(2025, 9, 13)
TRACE = UUID("0199d0aa-0000-7000-8000-000000000001")

HOSTILE = [
    *("", " ", ".", "..", "...", "-", "_", "/", "\\", "~", "*", "?", "\0", "\n", "\r\n", "\t", "a\0b"),
    *("../../etc/passwd", "/etc/passwd", "..\\..\\windows", "C:\\x", "C:", "a/b", "a\\b", "a:b", "a//b"),
    *(
        "con",
        "CON",
        "con.txt",
        "CON.TXT",
        "con.",
        "Con .txt",
        "nul",
        "aux.h",
        "prn",
        "com1",
        "COM1.log",
        "lpt9",
    ),
    *("My Proj", "my proj", "MyProj", "myproj ", " myproj", "My-Proj", "MY-PROJ", "my.proj.", "my-proj "),
    *(
        "chat-1a2b3c4d",
        "chat-00000000",
        "Chat",
        "CHAT",
        "cHat",
        "chat.",
        ".chat",
        "-chat",
        "_chat",
        "chat ",
        "cha\u0301t",
    ),
    *("chát", "чат", "聊天", "🦜", "🦜🦜", "ﬀ", "ß", "ẞ", "İ", "i̇", "ı", "K", "\u202echat", "chat\u200b"),
    *("a" * 81, "a" * 255, "A" * 80, "é" * 200, "a" * 79 + ".", "a" * 60 + "/b", "a" * 60 + "/c"),
    *("$(reboot)", "`id`", "; rm -rf /", "%2e%2e", "{day}", "<b>", "'", '"', "|", "&", "a b", "a\u00a0b"),
    *("manifest.json/", "_fetch.json", "\ud800", "..a", "a..", "2025-09-13 ", "@x", "=1+1"),
]

PLAIN = [
    "chat",
    "chat-langchain",
    "a",
    "7",
    "my_project.v2",
    "a..b",
    "2025-09-13",
    "x" * 80,
    "console",
    "com10",
    "a-",
]


def test_eighty_hostile_names_and_more_get_folders_that_differ_in_any_case() -> None:
    names = HOSTILE + PLAIN
    assert len(set(HOSTILE)) >= 80
    assert len({project_slug(name).casefold() for name in set(names)}) == len(set(names))


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_becomes_a_safe_folder_name(name: str) -> None:
    slug = project_slug(name)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*-[0-9a-f]{8}", slug)
    assert len(slug) <= 80
    assert not re.match(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])\.", slug)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_is_its_own_folder_name(name: str) -> None:
    assert project_slug(name) == name


@given(st.text())
def test_any_folder_name_is_one_safe_part_of_a_path(name: str) -> None:
    slug = project_slug(name)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", slug)
    assert not slug.endswith(".")
    assert slug == project_slug(name)


@given(st.text(max_size=4), st.text(max_size=4))
def test_two_names_never_share_a_folder(one: str, other: str) -> None:
    assert (project_slug(one) == project_slug(other)) == (one == other)


def test_paths_are_spelled_out() -> None:
    day = ProjectDay("Chat", DAY)
    assert day_folder(Path("data"), day) == Path("data/chat-460b3a7d/2025-09-13")
    assert archive_name(day) == "chat-460b3a7d/2025-09-13.zip"
    assert archive_name(ProjectDay("chat", DAY)) == "chat/2025-09-13.zip"


def test_a_trace_file_is_named_by_the_utc_start_of_its_root() -> None:
    started = datetime(2025, 9, 14, 1, 30, 5, 999999, timezone(timedelta(hours=2)))
    assert trace_file_name(TRACE, started) == f"233005_{TRACE}.json"
    assert trace_of_file(f"233005_{TRACE}.json") == TRACE


@pytest.mark.parametrize(
    "name",
    [
        f"233005_{TRACE}.json\n",
        f"233005_{TRACE}.JSON",
        f"233005_{str(TRACE).upper()}.json",
        f"23300_{TRACE}.json",
        f"233005-{TRACE}.json",
        f".233005_{TRACE}.json.1a2b3c4d.tmp",
        f"../233005_{TRACE}.json",
        f"{TRACE}_233005.json",
        f"233005_{TRACE.hex}.json",
        "_fetch.json",
        "manifest.json",
    ],
)
def test_other_names_are_no_trace_files(name: str) -> None:
    assert trace_of_file(name) is None


def test_only_trace_files_and_unplaced_runs_are_archived(tmp_path: Path) -> None:
    folder = tmp_path / "chat" / "2025-09-13"
    folder.mkdir(parents=True)
    (folder / f"120000_{UUID(int=1)}.json").mkdir()
    for name in (
        f"233005_{TRACE}.json",
        "unplaced.jsonl",
        "_fetch.json",
        "notes.txt",
        f".x_{TRACE}.json.tmp",
    ):
        (folder / name).touch()
    (tmp_path / "chat" / "2025-09-14").mkdir()
    (tmp_path / "chat" / "2025-09-13.replaced-1").mkdir()
    assert [path.name for path in archived_files(folder)] == [f"233005_{TRACE}.json", "unplaced.jsonl"]
    assert archived_files(tmp_path / "nowhere") == []
    assert list(archived_days(tmp_path, "chat")) == [DAY]
    assert list(archived_days(tmp_path, "nobody")) == []


def test_the_stamp_of_a_trace_without_any_time_is_midnight() -> None:
    assert trace_file_name(TRACE, datetime.fromtimestamp(0, UTC)) == f"000000_{TRACE}.json"


def test_a_content_file_is_named_after_its_hash() -> None:
    assert content_file_name("0a" * 32) == f"{'0a' * 32}.bin"
    assert content_of_file(content_file_name("0a" * 32)) == "0a" * 32
    assert content_of_file("notes.bin") is None


def test_of_all_archived_files_only_those_of_traces_are_trace_files(tmp_path: Path) -> None:
    trace = trace_file_name(TRACE, datetime(2025, 9, 13, 10, tzinfo=UTC))
    for name in (trace, content_file_name("0a" * 32), "unplaced.jsonl", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert trace_files(tmp_path) == [tmp_path / trace]
    assert len(archived_files(tmp_path)) == 3
