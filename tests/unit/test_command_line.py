"""The command line in this process: what is refused before anything is opened."""

import logging

import pytest

from lse.cli import _translate
from lse.cli.app import app
from lse.errors import UsageError


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sets up how this process logs; the next test finds it as it was."""
    logger = logging.getLogger("lse")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(logger, name, getattr(logger, name))


def refusal(*arguments: str) -> UsageError:
    with pytest.raises(UsageError) as refused:
        app(arguments, standalone_mode=False)
    return refused.value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "archive zip -p a --date 2025-09-13 -d2025-09-14",
            "--date is given 2 times: 2025-09-13, 2025-09-14.",
        ),
        ("report zenrows-errors --format=csv -f json --last 7d", "--format is given 2 times: csv, json."),
        ("--target drive --target directory:/a status", "--target is given 2 times: drive, directory:/a."),
        ("sandbox serve --port 1 --port 2 --port 3", "--port is given 3 times: 1, 2, 3."),
        ("db quarantine --end-date x --end-date x", "--end-date is given 2 times: x, x."),
    ],
)
def test_a_second_value_is_refused_and_both_are_named(arguments: str, said: str) -> None:
    assert refusal(*arguments.split()).message == said


def test_what_may_be_repeated_and_flags_are_not_refused() -> None:
    said = refusal("archive", "zip", "-p", "a", "-p", "b", "--json", "--json", "--date", "2025-9-1").message
    assert said == "'2025-9-1' is not a date of the form YYYY-MM-DD."


@pytest.mark.parametrize(
    "arguments", ["events --since 7", "report zenrows-errors --last 7", "errors --since w"]
)
def test_the_hint_for_a_number_of_days_fits_each_option(arguments: str) -> None:
    assert refusal(*arguments.split()).hint == "Write it as 7d, for seven days."


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ("", "Give the day, or a range of days."),
        ("--start-date 2025-09-13", "--start-date is only one end of a range of days."),
        ("--end-date 2025-09-13", "--end-date is only one end of a range of days."),
        ("--date 2025-09-13 --last 7d", "--date and --last do not go together."),
    ],
)
def test_what_is_wrong_with_the_days_is_said(days: str, said: str) -> None:
    assert refusal("archive", "zip", "-p", "a", *days.split()).message == said


@pytest.mark.parametrize("option", ["--data-dir x", "--archive-dir x", "--state-dir x", "--target x", "-v"])
def test_an_option_of_lse_itself_behind_the_command_is_told_its_place(option: str) -> None:
    name = option.split()[0]
    with pytest.raises(Exception, match=f"No such option: {name}") as refused:
        app(["archive", "zip", *option.split()], standalone_mode=False)
    told = _translate(refused.value)
    assert told.message == f"{name} stands before the command."
    assert told.hint.startswith(f"lse {name} ")
