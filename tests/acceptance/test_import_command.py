"""`lse import` as a user types it: plan, question, import, proof, list, and back."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from commands import Answer, Lse
from earlier_tool import MORNING, SavedFile, one_day, run, write_folder, write_table

DAYS = ["Token Review/2025-09-13", "chat/2025-09-13"]


@pytest.fixture
def old(lse: Lse) -> Path:
    """What an earlier exporter left, with one file that is no run."""
    folder = write_folder(lse.folder / "old", one_day())
    (folder / "chat" / "2025-09-13" / "broken.json").write_text("{")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(lse: Lse) -> int:
    with psycopg.connect(lse.settings["LSE_DATABASE_URL"]) as connection:
        row = connection.execute("select count(*) from runs").fetchone()
    assert row is not None
    return int(row[0])


def test_a_plan_an_import_a_list_and_back(lse: Lse, old: Path) -> None:
    plan = lse("import", "--from", "old", "--dry-run", "--json")
    assert plan.code == 4
    assert plan.json["total"] == {
        "days": 2,
        "runs": 8,
        "traces": 3,
        "feedback": 1,
        "bytes": plan.json["total"]["bytes"],
        "further_versions": 1,
        "new": 8,
        "equal": 0,
        "different": 0,
        "seconds": 0.0,
    }
    assert [unreadable["place"] for unreadable in plan.json["unreadable"]] == ["chat/2025-09-13/broken.json"]
    assert (plan.json["import"], plan.json["results"]) == (None, [])
    assert not (lse.folder / "data").exists()

    done = lse("import", "--from", "old", "--yes", "--json")
    assert done.code == 4
    assert [(each["project"], each["date"], each["state"]) for each in done.json["results"]] == [
        ("Token Review", "2025-09-13", "done"),
        ("chat", "2025-09-13", "done"),
    ]
    assert stored(lse) == 8

    (listed,) = lse("import", "--list", "--json").json
    assert (listed["import"], listed["state"], listed["days"]) == (done.json["import"], "imported", 2)

    back = lse("import", "--rollback", listed["import"], "--yes")
    assert (back.code, back.err) == (0, "")
    assert [line.split("  ")[0] for line in back.out.splitlines()] == DAYS
    assert (tree(lse.folder / "data"), stored(lse)) == ({}, 0)
    assert "rolled back" in lse("import", "--list").out
    assert "nothing of this import is left" in lse("import", "--rollback", listed["import"], "--yes").out


def test_the_words_for_people(lse: Lse, old: Path) -> None:
    (old / "chat" / "2025-09-13" / "broken.json").unlink()

    done = lse("import", "--from", "old", "--project", "ch*", "--yes")

    assert done.code == 0
    lines = done.out.splitlines()
    assert (
        lines[0].split()
        == "project day runs traces feedback bytes further versions new equal different".split()
    )
    assert lines[-1] == (
        "chat/2025-09-13  import  done        6 runs added, 0 replaced, 1 feedback records;"
        " store: 6 runs inserted, 0 updated, 0 unchanged"
    )
    assert "lse import --rollback" in done.err
    assert lse("archive", "zip", "--project", "chat", "--date", "2025-09-13").code == 0


def test_a_day_that_was_packed_since_is_named_and_the_others_go_back(lse: Lse, old: Path) -> None:
    name = lse("import", "--from", "old", "--yes", "--json").json["import"]
    assert lse("archive", "zip", "--project", "chat", "--date", "2025-09-13").code == 0

    back = lse("import", "--rollback", name, "--yes")

    assert back.code == 4
    assert "chat/2025-09-13 was packed since the import, so it stays as it is." in back.err
    assert stored(lse) == 6


def test_without_a_terminal_and_yes_nothing_is_imported(lse: Lse, old: Path) -> None:
    asked = lse("import", "--from", "old")

    assert asked.code == 2
    assert asked.err.startswith("lse: Nobody is there to be asked.\n     Say --yes")
    assert not (lse.folder / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Say what to do"),
        (["--from", "old", "--list"], 2, "Say what to do"),
        (["--from", "old", "--from-env", "X"], 2, "Say what to do"),
        (["--from", "nowhere", "--dry-run"], 2, "nowhere is no folder"),
        (["--from", "old", "--project", "other", "--dry-run"], 2, "holds nothing of the project 'other'"),
        (["--from-env", "OLD_URL"], 7, "OLD_URL is not set"),
        (["--rollback", "20250914T000000Z"], 2, "There is no import '20250914T000000Z'"),
        (["--from", "postgresql://user:secret@127.0.0.1:9/x", "--yes"], 6, "127.0.0.1:9/x does not answer"),
    ],
)
def test_what_cannot_be_done_is_said(lse: Lse, old: Path, arguments: list[str], code: int, said: str) -> None:
    answer = lse("import", *arguments)

    assert (answer.code, said in answer.err, "secret" in answer.out + answer.err) == (code, True, False)


def test_the_table_is_imported_by_an_address_that_nobody_sees(lse: Lse, empty_database_url: str) -> None:
    write_table(empty_database_url, one_day()[:4])
    with psycopg.connect(empty_database_url) as connection:
        info = connection.info
        address = f"postgresql+asyncpg://{info.user}:secret@/{info.dbname}?host={info.host}&port={info.port}"

    done = lse("import", "--from-env", "OLD_URL", "--yes", OLD_URL=address)

    assert (done.code, stored(lse)) == (0, 4)
    assert "secret" not in done.out + done.err + lse("import", "--list").out


def test_nothing_to_import_is_no_failure(lse: Lse) -> None:
    (lse.folder / "empty").mkdir()

    answer = lse("import", "--from", "empty", "--yes")

    assert answer == Answer(0, "there is no run to import\n", "")


def test_a_killed_import_goes_on_and_can_still_be_taken_back(lse: Lse) -> None:
    files = [SavedFile(run(number, start=MORNING + timedelta(seconds=number))) for number in range(1, 800)]
    write_folder(lse.folder / "old", files)
    command = [str(Path(sys.executable).with_name("lse")), "import", "--from", "old", "--yes"]
    killed = subprocess.Popen(
        command, cwd=lse.folder, env={"PATH": os.environ["PATH"], "HOME": str(lse.folder), **lse.settings}
    )
    deadline = time.monotonic() + 60
    while not list((lse.folder / "data").rglob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    (begun,) = lse("import", "--list", "--json").json
    assert begun["state"] == "unfinished"

    done = lse("import", "--from", "old", "--yes", "--json")

    assert (done.code, done.json["import"], stored(lse)) == (0, begun["import"], 799)
    assert lse("import", "--rollback", begun["import"], "--yes").code == 0
    assert (tree(lse.folder / "data"), stored(lse)) == ({}, 0)
