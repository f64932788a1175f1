"""Reports as a user asks for them: options, formats, what is said of the days, and exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PROJECT, Lse

DAYS = ("-p", PROJECT, "--start-date", "2025-09-13", "--end-date", "2025-09-14")


@pytest.fixture
def swept(lse: Lse) -> Lse:
    """One of two days is archived, loaded and verified."""
    assert lse("archive", "full-sweep", "-p", PROJECT, "-d", "2025-09-14", "--skip-upload").code == 0
    return lse


def test_a_report_says_how_much_of_it_is_there(swept: Lse) -> None:
    answer = swept("report", "errors", *DAYS, "--name", "zenrows_scraper")
    strict = swept("report", "errors", *DAYS, "--name", "zenrows_scraper", "--strict")
    own = swept("report", "zenrows-errors", *DAYS)

    assert answer.code == 0
    assert (
        "2025-09-13 to 2025-09-14, chat-research: 1 of 2 days complete, 1 missing; 1 verified" in answer.err
    )
    assert (strict.code, strict.out) == (3, answer.out)
    assert "Not every day of the report is complete." in strict.err
    assert swept("report", "errors", "-p", PROJECT, "-d", "2025-09-14", "--strict").code == 0
    assert [line.split(",")[1:3] for line in answer.out.splitlines()[1:]] == [
        line.split(",")[1:3] for line in own.out.splitlines()[1:]
    ]


def test_json_says_window_options_and_coverage(swept: Lse) -> None:
    options = ("--by", "month,type", "--where", "status=success", "--format", "json")
    document = swept("report", "latency", *DAYS, *options).json

    assert document["report"] == "latency"
    assert (document["start"], document["end"]) == ("2025-09-13", "2025-09-14")
    assert (document["by"], document["where"]) == (["month", "type"], ["status=success"])
    assert document["coverage"]["complete"] == 1
    assert document["coverage"]["missing"] == ["2025-09-13"]
    assert {row["month"] for row in document["rows"]} == {"2025-09"}
    files = swept("report", "latency", *DAYS, *options, "--source", "files").json
    assert files["rows"] == document["rows"]


def test_the_top_rows_are_counted_out(swept: Lse) -> None:
    answer = swept("report", "errors", *DAYS, "--by", "name", "--top", "2")

    assert len(answer.out.splitlines()) == 3
    assert "lse: 2 of " in answer.err


def test_explain_shows_the_plan_beside_the_report(swept: Lse) -> None:
    answer = swept("report", "volume", *DAYS, "--explain")

    assert answer.out == swept("report", "volume", *DAYS).out
    assert "Execution Time" in answer.err
    assert "daily_rollups" in answer.err
    assert swept("report", "volume", *DAYS, "--explain", "--source", "files").code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("errors", "--by", "nome"), "There is no grouping by 'nome'.\n     Is it name?"),
        (
            ("errors", "--by", "key"),
            "Only feedback has a key.\n     By a key of the metadata: --by metadata.user",
        ),
        (("cost", "--by", "metadata"), "Say which key of the metadata, such as --by metadata.user."),
        (("errors", "--where", "nome=x"), "'nome=x' is not a condition on runs."),
        (("error-groups", "--new-since", "soon"), "'soon' is not a date of the form YYYY-MM-DD."),
        (("zenrows-errors", "--by", "name"), "No such option"),
        (("slowest", "--by", "name"), "No such option"),
        (("errors", "--top", "0"), "Invalid value for '--top'"),
    ],
)
def test_what_cannot_be_answered_prints_nothing_on_stdout(
    lse: Lse, arguments: tuple[str, ...], says: str
) -> None:
    answer = lse("report", *arguments, "-d", "2025-09-14")

    assert answer.code == 2
    assert answer.out == ""
    assert says in answer.err


def test_a_mistyped_project_is_refused_and_a_day_without_runs_is_not(swept: Lse) -> None:
    file = swept.folder / "errors.csv"
    file.write_text("as it was")
    for source in ("store", "files"):
        options = ("-d", "2025-09-01", "--source", source)
        refused = swept("report", "errors", "-p", f"{PROJECT}x", *options, "--output", str(file))
        assert (refused.code, refused.out, file.read_text()) == (2, "", "as it was")
        assert f"Is it {PROJECT}?" in refused.err
        empty = swept("report", "errors", "-p", PROJECT, *options)
        assert (empty.code, empty.out.splitlines()[1:]) == (0, ["2025-09-01,0,0,0.0,0,0,0"])
        assert "0 of 1 days complete, 1 missing" in empty.err
        assert "yet to come" not in empty.err
    assert "2999-01-01 is yet to come; today is " in swept("report", "errors", "-d", "2999-01-01").err


@pytest.mark.parametrize(
    ("form", "begin"), [("parquet", b"PAR1"), ("xlsx", b"PK\x03\x04"), ("html", b"<!DOCTYPE")]
)
def test_a_report_for_other_programs_goes_to_a_file_or_a_pipe(swept: Lse, form: str, begin: bytes) -> None:
    options = ("report", "cost", *DAYS, "--format", form)
    file = swept.folder / f"cost.{form}"
    assert swept(*options, "--output", str(file)).code == 0
    piped = subprocess.run(
        [str(Path(sys.executable).with_name("lse")), *options],
        env={**os.environ, **swept.settings},
        cwd=swept.folder,
        capture_output=True,
        check=True,
    )
    assert file.read_bytes().startswith(begin)
    assert piped.stdout == file.read_bytes()
    assert b"1 of 2 days complete" in piped.stderr


def test_bytes_are_not_written_to_a_terminal(swept: Lse) -> None:
    terminal, stdout = os.openpty()
    with os.fdopen(terminal, "rb"):
        refused = subprocess.run(
            [str(Path(sys.executable).with_name("lse")), "report", "cost", *DAYS, "--format", "xlsx"],
            env={**os.environ, **swept.settings},
            cwd=swept.folder,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        os.close(stdout)
    assert refused.returncode == 2
    assert refused.stderr.decode() == ("lse: A terminal cannot show xlsx.\n     Add: --output cost.xlsx\n")


def test_output_goes_through_a_link_and_into_a_device_and_names_a_missing_directory(
    lse: Lse, tmp_path: Path
) -> None:
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    link.symlink_to(real)
    days = ("--start-date", "2025-09-13", "--end-date", "2025-09-14")
    assert lse("report", "zenrows-errors", *days, "--source", "files", "--output", str(link)).code == 0
    assert link.is_symlink()
    assert real.read_text().startswith("Date,Total Traces")

    assert lse("report", "zenrows-errors", *days, "--source", "files", "--output", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()

    refused = lse(
        "report", "zenrows-errors", *days, "--source", "files", "--output", str(tmp_path / "no/x.csv")
    )
    assert (refused.code, f"There is no directory {tmp_path / 'no'}." in refused.err) == (2, True)
