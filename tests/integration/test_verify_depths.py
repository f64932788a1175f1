"""What each depth of verify looks at, how it is chosen and exported, what a repair leaves alone."""

import csv
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from day_of_copies import DAY, DayOfCopies

from lse.archive.fetch_record import read_fetch_record, write_fetch_record
from lse.archive.manifest import content_sha256_of
from lse.cli import main
from lse.errors import UsageError
from lse.pipeline import pack
from lse.pipeline.drilling import drill, last_drill
from lse.pipeline.rebuilding import rebuild
from lse.pipeline.repairing import parse_only
from lse.resources import Resources


@pytest.fixture
def day(tmp_path: Path, database_url: str) -> DayOfCopies:
    """A sound day."""
    return DayOfCopies(tmp_path, database_url)


@pytest.fixture
def lse(day: DayOfCopies, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any) -> Any:
    """Run a command on the day's settings; gives the exit code, and what was on stdout and stderr."""
    for name in ("data_dir", "archive_dir", "state_dir", "target"):
        monkeypatch.setenv(f"LSE_{name.upper()}", str(getattr(day.settings, name)))
    monkeypatch.setenv("LSE_DATABASE_URL", day.url)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lse", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsysbinary.readouterr()
        return int(ended.value.code or 0), out.decode(), err.decode()

    return run


CHOSEN = ("--project", "chat", "--date", "2025-09-13")


# --- quick


def test_a_quick_look_at_a_sound_day_finds_nothing_and_leaves_no_note(day: DayOfCopies) -> None:
    result = day.verify(quick=True)
    assert (result.exit_code, result.figures["copies"]) == (
        0,
        "zip 19, files 5 traces, target as noted, store 19",
    )
    assert day.sql("select verified_at from project_days") == [(None,)]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda day: day.traces()[0].unlink(), "is missing in files"),
        (lambda day: day.traces()[0].write_bytes(b"short"), "differs in files"),
        (lambda day: shutil.copy(day.traces()[0], day.folder / "unplaced.jsonl"), "is only in files"),
        (lambda day: shutil.rmtree(day.folder), "every trace file of chat/2025-09-13 is missing in files"),
        (lambda day: day.zip.write_bytes(day.zip.read_bytes()[:-9]), "is not a readable zip"),
        (lambda day: day.zip.unlink(), "2025-09-13.zip is missing in zip"),
        (lambda day: day.object.unlink(), "chat/2025-09-13.zip is missing in target"),
        (lambda day: day.flip(day.object), "chat/2025-09-13.zip differs in target"),
        (lambda day: day.sql("delete from runs"), "19 of 19 runs is missing in store"),
        (lambda day: day.sql("delete from feedback"), "the number of feedback records differs in store"),
    ],
)
def test_a_quick_look_finds_what_sizes_and_counts_show(day: DayOfCopies, damage: Any, says: str) -> None:
    damage(day)
    result = day.verify(quick=True)
    assert result.exit_code == 3
    assert any(says in line for line in result.details), result.details


def test_a_quick_look_does_not_see_what_only_a_byte_tells(day: DayOfCopies) -> None:
    day.flip(day.traces()[0], 200)
    assert day.verify(quick=True).exit_code == 0
    assert day.verify().exit_code == 3


# --- what cannot be repaired


def test_what_is_whole_nowhere_is_lost_and_nothing_is_changed(day: DayOfCopies) -> None:
    name = day.traces()[0].name
    day.flip(day.traces()[0], 200)
    day.object.unlink()
    day.zip.unlink()
    before = day.exact()
    found = day.compare()
    assert "files: they are not what the last fetch left" in map(str, found.differences)
    fixed = day.fix("damaged-files", "differs-files")
    assert fixed.result.exit_code == 3
    assert fixed.batch is None
    assert next(map(str, fixed.repairs)).endswith("cannot be repaired, since no good copy exists")
    assert day.exact()[0] == before[0]
    assert (day.folder / name).exists()


def test_a_file_that_no_archive_has_whole_is_lost(day: DayOfCopies) -> None:
    path = day.traces()[0]
    path.unlink()
    day.object.unlink()
    content = day.zip.read_bytes()
    at = content.index(path.name.encode()) + len(path.name) + 60
    day.flip(day.zip, at)
    lost = [str(each) for each in day.compare().differences if each.kind == "lost"]
    assert lost == [f"trace {path.name[7:43]} is lost: whole in no archive"]
    fixed = day.fix("missing-in-files")
    assert [(each.copy, error.message) for each, error in fixed.failed] == [
        ("files", f"1 file of {DAY} cannot be had, first {path.name}.")
    ]


def test_an_attachment_that_no_archive_has_whole_is_lost(day: DayOfCopies) -> None:
    name, owner = day.attachment().name, day.traces()[0].name[7:43]
    day.flip(day.attachment())
    day.flip(day.zip, day.zip.read_bytes().index(name.encode()) + len(name) + 60)
    day.object.unlink()
    lost = [str(each) for each in day.compare().differences if each.kind == "lost"]
    assert lost == [f"{name} of run {owner} is lost: whole in no archive"]


def test_a_trace_without_runs_is_missed_as_well(day: DayOfCopies) -> None:
    empty = b'{"format":"lse-trace/1","trace_id":"%s","runs":[\n],"feedback":[\n],"files":[\n]}\n'
    trace_id = uuid4()
    path = day.folder / f"000000_{trace_id}.json"
    path.write_bytes(empty % str(trace_id).encode())
    record = read_fetch_record(day.folder)
    assert record is not None
    write_fetch_record(day.folder, replace(record, content_sha256=content_sha256_of(day.folder)))
    with Resources(day.settings) as opened:
        pack(opened, DAY)
    path.unlink()
    told = [str(each) for each in day.compare().differences if each.trace_id == trace_id]
    assert told == [f"trace {trace_id} without runs is missing in files"]


def test_a_database_that_does_not_answer_is_a_copy_that_was_not_looked_at(
    day: DayOfCopies, lse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSE_DATABASE_URL", "postgresql://lse@127.0.0.1:9/lse")
    for depth in ((), ("--quick",)):
        code, out, _ = lse("archive", "verify", *CHOSEN, *depth)
        assert code == 6
        assert "the store could not be checked: " in out


def test_a_quick_look_at_a_target_that_nothing_tells_of_raises_no_alarm(day: DayOfCopies) -> None:
    day.sql("delete from project_days")
    shutil.rmtree(day.folder)
    assert [str(each) for each in day.compare("quick").differences if each.copy == "target"] == []
    day.zip.unlink()
    assert [str(each) for each in day.compare("quick").differences if each.copy == "target"] == []


def test_only_what_was_chosen_is_repaired(day: DayOfCopies) -> None:
    day.sql("delete from runs where run_id = (select min(run_id::text)::uuid from runs)")
    day.object.unlink()
    fixed = day.fix("missing-in-db")
    assert {each.copy for each in fixed.copies.differences} == {"target"}
    assert day.fix("missing-target").result.exit_code == 0


def test_a_name_that_chooses_nothing_is_a_wrong_command() -> None:
    with pytest.raises(UsageError, match="'broken-db' names nothing"):
        parse_only(["broken-db"])
    assert parse_only([]) is None
    assert parse_only(["missing-in-db", "damaged-zip"]) == frozenset(
        {("missing", "store"), ("damaged", "zip")}
    )


def test_there_is_nothing_to_take_back_twice(day: DayOfCopies) -> None:
    with pytest.raises(UsageError, match="There is no repair to take back"):
        day.undo()
    day.zip.unlink()
    batch = day.fix().batch
    assert batch is not None
    assert day.undo().state == "done"
    assert day.undo(batch.name).state == "unchanged"
    with pytest.raises(UsageError, match="no repair elsewhere") as refused:
        day.undo("elsewhere")
    assert refused.value.hint == "There is none to take back."


# --- the command line


def test_the_plan_is_shown_and_nothing_changed_without_a_yes(day: DayOfCopies, lse: Any) -> None:
    day.zip.unlink()
    code, out, err = lse("archive", "verify", *CHOSEN, "--fix-missing")
    assert code == 3
    assert "chat/2025-09-13  plan    zip: 1 difference, repaired from files\n" in out
    assert "Nothing is repaired without --yes." in err
    assert not day.zip.exists()
    code, out, err = lse("archive", "verify", *CHOSEN, "--fix-missing", "--yes")
    assert (code, day.zip.exists()) == (0, True)
    assert "lse archive undo " in err
    code, out, _ = lse("archive", "undo", "--json")
    assert (code, json.loads(out)["state"], day.zip.exists()) == (0, "done", False)


def test_every_item_is_a_line_a_row_and_a_document(day: DayOfCopies, lse: Any) -> None:
    day.sql("delete from runs")
    code, out, _ = lse("archive", "verify", *CHOSEN, "--detailed")
    assert (code, out.count("\n")) == (3, 20)
    code, out, _ = lse("archive", "verify", *CHOSEN, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, len(rows), {row["Kind"] for row in rows}) == (3, 19, {"missing"})
    code, out, _ = lse("archive", "verify", *CHOSEN, "--json")
    document = json.loads(out)
    assert {each["run_id"] for each in document["differences"]} == {row["Run"] for row in rows}
    assert document["figures"]["missing"] == len(document["details"]) == 5


def test_a_rotation_sees_every_day_once(day: DayOfCopies, lse: Any) -> None:
    seen = [json.loads(lse("archive", "verify", "--sample", f"{n}/7", "--json")[1]) for n in range(1, 8)]
    assert [document["date"] for part in seen for document in part] == ["2025-09-13"]
    assert day.folder.exists()
    assert lse("archive", "verify", "--sample", "7")[0] == 2
    assert lse("archive", "verify", *CHOSEN, "--quick", "--deep")[0] == 2


# --- rebuild and drill


@pytest.mark.parametrize("left", ["files", "zip", "target"])
def test_the_database_comes_back_from_one_archive_alone(day: DayOfCopies, left: str) -> None:
    golden = day.rows(without={"loaded_at", "changed_xid"})
    day.sql("truncate runs, run_versions, feedback, quarantine, daily_rollups, project_days")
    if left != "files":
        shutil.rmtree(day.folder)
    if left != "zip":
        day.zip.unlink()
    if left != "target":
        day.object.unlink()
    with Resources(day.settings) as opened:
        [rebuilt] = rebuild(opened)
        assert (rebuilt.day, rebuilt.result.exit_code) == (DAY, 0)
    found = day.rows(without={"loaded_at", "changed_xid"})
    assert found["runs"] == golden["runs"]
    assert found["feedback"] == golden["feedback"]
    assert found["daily_rollups"] == golden["daily_rollups"]
    assert day.sql("select runs, traces, feedback, loaded_runs from project_days") == [(19, 5, 3, 19)]


def test_what_is_rebuilt_is_verified_without_an_alarm(day: DayOfCopies, lse: Any) -> None:
    day.sql("truncate runs, run_versions, feedback, quarantine, daily_rollups, project_days")
    code, out, _ = lse("db", "rebuild")
    assert code == 0
    assert out.startswith("chat/2025-09-13  load    done        19 runs inserted")
    assert day.verify().exit_code == 0
    assert lse("db", "rebuild", "--project", "chat", "--json")[0] == 0


def test_a_drill_restores_into_a_scratch_place_and_is_remembered(day: DayOfCopies, lse: Any) -> None:
    before = day.exact()
    code, out, _ = lse("drill", "--seed", "7")
    assert (code, out) == (
        0,
        "chat/2025-09-13  from the target  19 runs came back whole\nseed 7\n",
    )
    assert day.exact() == before
    assert day.sql("select 1 from pg_namespace where nspname like 'lse_drill%'") == []
    assert "last drill: 0 days ago, 1 restored, seed 7\n" in lse("status")[1]


def test_a_drill_finds_an_archive_that_is_damaged_or_not_the_live_one(day: DayOfCopies) -> None:
    day.sql("update runs set content_hash = gen_random_uuid() where run_id = trace_id")
    with Resources(day.settings) as opened:
        assert drill(opened, 1).days[0].problems == ("the live store has other rows of 5 traces",)
    day.flip(day.object, 200)
    with Resources(day.settings) as opened:
        assert not drill(opened, 1).sound
    found = last_drill(day.settings.state_dir)
    assert found is not None
    assert not found.sound
