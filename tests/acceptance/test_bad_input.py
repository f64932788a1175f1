"""Bad input: one clear line, the exit code of its kind, nothing half-written, no traceback."""

import json
from pathlib import Path

import pytest
from commands import PROJECT, Lse

DAY = ("--project", PROJECT, "--date", "2025-09-14")
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens there

CASES = {
    "unknown project": (
        ("archive", "fetch", "-p", "chat-reserch", "-d", "2025-09-14"),
        {},
        2,
        "the nearest: chat-research",
    ),
    "wrong key": (("archive", "fetch", *DAY), {"LANGSMITH_API_KEY": "wrong"}, 5, "LANGSMITH_API_KEY"),
    "no key": (("archive", "fetch", *DAY), {"LANGSMITH_API_KEY": None}, 7, "LANGSMITH_API_KEY is not set"),
    "no server": (("archive", "fetch", *DAY), {"LANGSMITH_ENDPOINT": NOWHERE}, 6, "LANGSMITH_ENDPOINT"),
    "wrong form of date": (("archive", "fetch", "-p", PROJECT, "-d", "2025-9-1"), {}, 2, "YYYY-MM-DD"),
    "no such day": (("archive", "fetch", "-p", PROJECT, "-d", "2025-02-30"), {}, 2, "calendar"),
    "a day to come": (("archive", "fetch", "-p", PROJECT, "-d", "2999-01-01"), {}, 2, "not begun"),
    "a day of another age": (
        ("archive", "full-sweep", "-p", PROJECT, "-d", "0001-01-01", "--dry-run"),
        {},
        2,
        "mistyped",
    ),
    "no day": (("archive", "fetch", "-p", PROJECT), {}, 2, "--date"),
    "days backwards": (
        ("report", "zenrows-errors", "--start-date", "2025-09-14", "--end-date", "2025-09-13"),
        {},
        2,
        "--start-date lies after",
    ),
    "nothing fetched": (("archive", "zip", *DAY), {}, 2, "lse archive fetch"),
    "nothing packed": (("archive", "upload", *DAY), {}, 2, "Nothing of"),
    "no database": (
        ("report", "zenrows-errors", "-d", "2025-09-14"),
        {"LSE_DATABASE_URL": "postgresql://lse:secret-word@127.0.0.1:9/lse"},
        6,
        "LSE_DATABASE_URL",
    ),
    "no target": (("archive", "full-sweep", *DAY), {"LSE_TARGET": None}, 7, "--skip-upload"),
    "unknown target": (("archive", "full-sweep", *DAY), {"LSE_TARGET": "floppy"}, 7, "directory"),
    "unknown target shown": (("config",), {"LSE_TARGET": "floppy:/a"}, 7, "directory"),
    "no drive credentials": (
        ("archive", "full-sweep", *DAY),
        {"LSE_DRIVE_CREDENTIALS": None},
        7,
        "LSE_DRIVE_CREDENTIALS",
    ),
    "unknown format": (("report", "zenrows-errors", "-d", "2025-09-14", "-f", "pdf"), {}, 2, "Formats: csv"),
    "wrong setting": (("config",), {"LSE_SETTLE_HOURS": "soon"}, 7, "LSE_SETTLE_HOURS"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_one_clear_line(lse: Lse, case: str) -> None:
    arguments, settings, code, said = CASES[case]

    answer = lse(*arguments, **settings)

    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert len(answer.err.splitlines()) <= 3
    assert "Traceback" not in answer.err
    assert "secret-word" not in answer.err
    assert not list((lse.folder / "data").rglob("*.json"))


def test_missing_migrations_are_named_with_the_command_that_makes_them(
    lse: Lse, empty_database_url: str
) -> None:
    answer = lse("report", "zenrows-errors", "-d", "2025-09-14", LSE_DATABASE_URL=empty_database_url)

    assert (answer.code, answer.out) == (7, "")
    assert "lse db upgrade" in answer.err
    assert lse("db", "upgrade", LSE_DATABASE_URL=empty_database_url).code == 0
    assert lse("report", "zenrows-errors", "-d", "2025-09-14", LSE_DATABASE_URL=empty_database_url).code == 0


def test_a_failure_is_one_json_document_when_json_is_asked_for(lse: Lse) -> None:
    answer = lse("archive", "fetch", *DAY, "--json", LANGSMITH_API_KEY="wrong")

    assert answer.code == 5
    assert answer.json["error"]["kind"] == "AccessError"
    assert answer.json["error"]["exit_code"] == 5


@pytest.mark.parametrize(
    "arguments", [("archive", "fetch", "--json"), ("archive", "fetch", *DAY, "--json", "--nonsense")]
)
def test_even_a_command_that_cannot_be_parsed_answers_with_json(lse: Lse, arguments: tuple[str, ...]) -> None:
    answer = lse(*arguments)

    assert answer.code == 2
    assert json.loads(answer.out)["error"]["exit_code"] == 2


def test_an_archive_that_is_there_is_left_untouched_by_a_failed_fetch(lse: Lse) -> None:
    assert lse("archive", "fetch", *DAY).code == 0
    before = {path: path.read_bytes() for path in Path(lse.folder / "data").rglob("*") if path.is_file()}

    assert lse("archive", "fetch", *DAY, LANGSMITH_API_KEY="wrong").code == 5

    assert {
        path: path.read_bytes() for path in Path(lse.folder / "data").rglob("*") if path.is_file()
    } == before
