"""Choosing projects and days: the same options everywhere."""

import io
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from lse.archive.catalogue import archived_projects
from lse.archive.identity import expiry_of
from lse.cli.output import print_table, progress_bar
from lse.cli.progress import bar
from lse.cli.selection import Days, Selection, days, takes_selection
from lse.errors import UsageError
from lse.langsmith.http import RateLimit
from lse.langsmith.limits import Rate
from lse.models import ProjectDay
from lse.models.choice import choose

TODAY = date(2026, 3, 2)
FIVE = date(2026, 1, 5)
KNOWN = ("chat-b", "chat-a", "agent", "chat")


def known() -> Iterable[str]:
    return KNOWN


def unasked() -> Iterable[str]:
    raise AssertionError("nobody needs to be asked")


# Days


def test_one_day_or_a_range_or_the_last_days_are_chosen() -> None:
    assert days("2026-01-05", None, None, None, TODAY) == Days(FIVE, FIVE)
    assert days(None, "2026-01-05", "2026-01-07", None, TODAY) == Days(FIVE, date(2026, 1, 7))
    assert days(None, None, None, "1d", TODAY) == Days(date(2026, 3, 1), date(2026, 3, 1))
    assert days(None, None, None, "7d", TODAY) == Days(date(2026, 2, 23), date(2026, 3, 1))


@pytest.mark.parametrize("last", ["7", "0d", "07d", "7 d", "7D", "-7d", "1w", "", "7d\n", "٧d", "999999d"])
def test_another_form_of_the_last_days_is_refused(last: str) -> None:
    with pytest.raises(UsageError, match="not a number of days"):
        days(None, None, None, last, TODAY)


@pytest.mark.parametrize(
    "given",
    [
        (None, None, None, None),
        ("2026-01-05", "2026-01-05", None, None),
        ("2026-01-05", None, None, "7d"),
        (None, "2026-01-05", None, None),
        (None, None, "2026-01-05", None),
        (None, "2026-01-05", "2026-01-06", "7d"),
    ],
)
def test_days_are_chosen_in_exactly_one_way(
    given: tuple[str | None, str | None, str | None, str | None],
) -> None:
    with pytest.raises(UsageError) as caught:
        days(*given, TODAY)
    assert caught.value.hint == "--date D, or --start-date D --end-date D, or --last 7d."


@pytest.mark.parametrize("written", ["2026-1-5", "20260105", "2026-02-30", "2026-01-05 "])
def test_days_are_written_strictly(written: str) -> None:
    with pytest.raises(UsageError):
        days(written, None, None, None, TODAY)
    with pytest.raises(UsageError):
        days(None, "2026-01-01", written, None, TODAY)


# Projects


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (["chat"], ["chat"]),
        (["unknown", "chat", "unknown"], ["unknown", "chat"]),
        (["chat [old]", "a.b", ""], ["chat [old]", "a.b", ""]),
    ],
)
def test_plain_names_stay_as_they_are_and_are_not_looked_up(given: list[str], chosen: list[str]) -> None:
    assert choose(given, False, unasked) == chosen


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (["chat-*"], ["chat-a", "chat-b"]),
        (["chat*"], ["chat", "chat-a", "chat-b"]),
        (["chat-?"], ["chat-a", "chat-b"]),
        (["*"], ["agent", "chat", "chat-a", "chat-b"]),
        (["mine", "*-b", "chat-*"], ["mine", "chat-b", "chat-a"]),
    ],
)
def test_patterns_stand_for_the_projects_that_there_are_each_once(
    given: list[str], chosen: list[str]
) -> None:
    assert choose(given, False, known) == chosen


def test_brackets_dots_and_line_breaks_in_a_pattern_stand_for_themselves() -> None:
    there = ["a[b]c", "abc", "a.c", "axc", "a\nc"]
    assert choose(["a[b]*"], False, lambda: there) == ["a[b]c"]
    assert choose(["a.*"], False, lambda: there) == ["a.c"]
    assert choose(["a?c"], False, lambda: there) == ["a\nc", "a.c", "abc", "axc"]


def test_all_projects_are_chosen_only_when_asked_for() -> None:
    assert choose([], True, known) == ["agent", "chat", "chat-a", "chat-b"]
    for projects, everything in (([], False), (["chat"], True)):
        with pytest.raises(UsageError) as caught:
            choose(projects, everything, unasked)
        assert "--all-projects" in caught.value.hint


def test_a_pattern_without_a_match_names_what_there_is() -> None:
    with pytest.raises(UsageError, match="No project matches") as caught:
        choose(["caht-*"], False, known)
    assert caught.value.hint == "There are: agent, chat, chat-a, chat-b."
    for projects, everything in ((["x*"], False), ([], True)):
        with pytest.raises(UsageError):
            choose(projects, everything, lambda: [])


def test_a_selection_is_a_list_of_project_days() -> None:
    selection = Selection(("b", "a"), False, Days(FIVE, date(2026, 1, 6)))
    assert [str(day) for day in selection.of(unasked)] == [
        "b/2026-01-05",
        "b/2026-01-06",
        "a/2026-01-05",
        "a/2026-01-06",
    ]


def test_a_command_gets_the_options_and_keeps_its_own() -> None:
    app = typer.Typer()
    seen: list[tuple[Selection, int]] = []

    @app.command()
    @takes_selection
    def command(selection: Selection, number: int = 1) -> None:
        seen.append((selection, number))

    given = ["-p", "a", "--project", "b*", "--start-date", "2026-01-05", "--end-date", "2026-01-05"]
    assert CliRunner().invoke(app, [*given, "--number", "3"]).exit_code == 0
    assert seen == [(Selection(("a", "b*"), False, Days(FIVE, FIVE)), 3)]


def test_projects_on_disk_are_known_by_record_manifest_and_folder(tmp_path: Path) -> None:
    def put(path: str, text: str = "{}") -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    put("data/plain/2026-01-05/x.json")
    put("data/plain/2026-01-05.replaced-1/_fetch.json", "not read")
    put("data/not-a-project/notes.txt")
    put("data/lossy-0a1b2c3d/2026-01-05/x.json")  # nothing says what it is called
    put("zips/reports/zenrows-errors/all/2026.csv")
    put("zips/zipped/2026-01-05.zip")

    assert archived_projects(tmp_path / "data", tmp_path / "zips") == {"plain", "zipped"}
    assert archived_projects(tmp_path / "nowhere", tmp_path / "nowhere") == set()


# What is shown


def test_columns_are_aligned_and_hostile_names_are_inert(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    print_table(("name", "runs", ""), [("a\x1b[31m", "1,000", "x"), ("long name", "1", "")])
    assert capsysbinary.readouterr().out == b"name        runs\na[31m      1,000  x\nlong name      1\n"


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("chat", after=0) as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_what_is_done_the_rate_and_what_was_waited() -> None:
    screen = io.StringIO()
    waited = iter([1.0, *[8.0] * 50])
    console = Console(file=screen, force_terminal=True, width=140)
    with bar("chat/2026-01-05", 0, lambda: next(waited), console) as progress:
        for done in range(0, 5000, 100):
            progress(done, 5000)
    text = screen.getvalue()
    assert "chat/2026-01-05" in text
    assert "/5000" in text
    assert "/s" in text
    assert "waited 7 s for the rate limit" in text


def test_a_rate_limit_counts_the_time_in_which_somebody_waited(caplog: pytest.LogCaptureFixture) -> None:
    limit = RateLimit(Rate(2, 0.2))
    for _ in range(2):
        limit.wait()
    assert limit.waited == 0
    limit.wait()
    limit.wait()
    assert 0.1 < limit.waited < 0.5
    assert caplog.records == []


# Expiry


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"trace_first_received_at": "2026-01-05T00:00:01", "ttl_seconds": 1209600},
            datetime(2026, 1, 19, 0, 0, 1, tzinfo=UTC),
        ),
        (
            {"trace_first_received_at": "2026-01-05T01:00:00+01:00", "ttl_seconds": 60.0},
            datetime(2026, 1, 5, 0, 1, tzinfo=UTC),
        ),
        ({"trace_first_received_at": "2026-01-05T00:00:01", "ttl_seconds": None}, None),
        ({"trace_first_received_at": "2026-01-05T00:00:01", "ttl_seconds": 1e300}, None),
        ({"trace_first_received_at": "2026-01-05T00:00:01", "ttl_seconds": -1}, None),
        ({"trace_first_received_at": "2026-01-05T00:00:01", "ttl_seconds": "60"}, None),
        ({"trace_first_received_at": 7, "ttl_seconds": 60}, None),
        ({"ttl_seconds": 60}, None),
        ({}, None),
    ],
)
def test_a_trace_expires_its_time_to_live_after_it_was_received(
    fields: dict[str, object], expected: datetime | None
) -> None:
    assert expiry_of(json.dumps(fields).encode()) == expected


def test_the_end_of_the_calendar_is_no_expiry_and_no_error() -> None:
    text = b'{"trace_first_received_at": "9999-12-31T00:00:00", "ttl_seconds": 1209600}'
    assert expiry_of(text) is None
    assert expiry_of(b"[]") is None
    assert expiry_of(b"{") is None


def test_the_days_of_a_project_ascend() -> None:
    assert Days(FIVE, date(2026, 1, 6)).of("a") == [ProjectDay("a", FIVE), ProjectDay("a", date(2026, 1, 6))]
