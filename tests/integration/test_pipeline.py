"""The steps of a day together: local LangSmith and Drive, real Postgres, what fails and what goes on."""

import json
import shutil
import threading
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lab import DAY, EMPTY, Lab

from lse.archive.layout import archived_files
from lse.archive.manifest import describe_folder
from lse.archive.reading import DayReader
from lse.archive.trace_file import DamagedArchive, read_trace_file
from lse.archive.zip import write_zip
from lse.errors import BusyError, ConfigurationError, DifferencesFound, UsageError
from lse.models import ProjectDay, StepResult
from lse.pipeline import exit_code, fetch, in_turn, load, pack, report, restore, upload
from lse.reports import Request
from lse.sandbox.faults import Rule
from lse.store import Store
from lse.targets import _drive_client, _retry


def states(results: dict[str, StepResult]) -> dict[str, str]:
    return {step: result.state for step, result in results.items()}


ALL_DONE = dict.fromkeys(("fetch", "pack", "upload", "load", "verify"), "done")


# --- a healthy day


def test_a_sweep_does_everything_and_a_second_one_repeats_nothing(lab: Lab) -> None:
    first = lab.sweep()
    assert (states(first), exit_code(first.values())) == (ALL_DONE, 0)
    assert first["fetch"].figures["runs"] == lab.sample.runs
    assert first["fetch"].figures["traces"] == 6
    assert first["load"].figures["inserted"] == lab.sample.runs
    before = {path: path.read_bytes() for path in (*lab.files(), lab.zip)}
    lab.sandbox.langsmith.clear_log()
    lab.sandbox.drive.clear_log()
    second = lab.sweep()
    assert states(second) == ALL_DONE | dict.fromkeys(("fetch", "pack", "upload", "load"), "unchanged")
    assert exit_code(second.values()) == 0
    assert second["load"].figures["unchanged"] == lab.sample.runs
    assert {entry.operation for entry in lab.sandbox.langsmith.log} == {"run_stats"}
    assert sum(entry.bytes_in for entry in lab.sandbox.drive.log if entry.operation == "upload_chunk") == 0
    assert {path: path.read_bytes() for path in (*lab.files(), lab.zip)} == before


def test_the_zip_in_drive_is_the_zip_on_disk(lab: Lab) -> None:
    lab.sweep()
    assert list(lab.sandbox.drive.files()) == ["lse/chat/2025-09-13.zip"]
    fetched = lab.zip.with_name("fetched.zip")
    with lab.resources() as resources:
        resources.target.get("chat/2025-09-13.zip", fetched)
        resources.source.close()
    assert fetched.read_bytes() == lab.zip.read_bytes()


def test_the_reports_say_what_the_sample_counted(lab: Lab) -> None:
    lab.sweep()
    with lab.resources() as resources:
        for origin in ("store", "files"):
            text = report(resources, "zenrows-errors", Request(DAY.day, DAY.day, "chat"), origin=origin)
            assert text.splitlines()[1].startswith(f"2025-09-13,6,{lab.sample.zenrows_failed_traces},")
        resources.source.close()


def test_an_empty_day_is_done_and_leaves_no_zip(lab: Lab) -> None:
    results = lab.sweep(day=EMPTY)
    assert exit_code(results.values()) == 0
    assert states(results) == {
        "fetch": "done",
        "pack": "unchanged",
        "upload": "unchanged",
        "load": "unchanged",
        "verify": "done",
    }
    assert not lab.zip.with_name("2025-09-01.zip").exists()
    assert lab.sandbox.drive.files() == {}


def test_force_fetches_a_settled_day_again(lab: Lab) -> None:
    lab.sweep()
    lab.sandbox.langsmith.clear_log()
    assert lab.sweep(force=True)["fetch"].state == "done"
    assert lab.sandbox.langsmith.log != ()


# --- steps left out


@pytest.mark.parametrize(
    "skipped", [{"fetch"}, {"upload"}, {"load"}, {"verify"}, {"upload", "load", "verify"}]
)
def test_steps_that_are_skipped_are_not_done(lab: Lab, skipped: set[str]) -> None:
    if "fetch" in skipped:
        lab.step(fetch)
        lab.sandbox.langsmith.clear_log()
    results = lab.sweep(*skipped)
    for step, state in states(results).items():
        assert (state == "skipped") == (step in skipped), step
    assert exit_code(results.values()) == 0
    assert (lab.sandbox.langsmith.log == ()) == ("fetch" in skipped)
    assert (lab.sandbox.drive.files() == {}) == ("upload" in skipped)
    assert (lab.execute("select count(*) from runs") == [(0,)]) == ("load" in skipped)


def test_without_a_target_a_sweep_is_refused_before_anything_is_done(lab: Lab) -> None:
    lab.flags.pop("target")
    with pytest.raises(ConfigurationError, match="No target is set"):
        lab.sweep()
    assert not lab.folder.exists()
    assert exit_code(lab.sweep("upload").values()) == 0


# --- steps that fail


def test_with_drive_refusing_the_load_still_happens(lab: Lab) -> None:
    lab.sandbox.drive.faults.add(Rule({"status": 403, "reason": "insufficientPermissions"}, times=None))
    results = lab.sweep()
    assert states(results)["upload"] == "failed"
    assert [results[step].state for step in ("fetch", "pack", "load")] == ["done"] * 3
    assert exit_code(results.values()) == results["upload"].exit_code == 5
    assert lab.execute("select count(*) from runs") == [(lab.sample.runs,)]
    lab.sandbox.drive.faults.clear()
    again = lab.sweep()
    assert (again["upload"].state, exit_code(again.values())) == ("done", 0)


def test_with_drive_down_the_load_still_happens_and_the_exit_code_says_try_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = _retry.RetryPolicy(base=0.001, cap=0.01, retry_after_cap=0.01, total=0.2)
    build = _drive_client.Client.__init__

    def hasty(self: Any, settings: Any, **more: Any) -> None:
        build(self, settings, **{"policy": quick} | more)

    monkeypatch.setattr(_drive_client.Client, "__init__", hasty)
    lab.sandbox.drive.faults.add(Rule({"status": 503}, times=None))
    results = lab.sweep()
    assert (results["upload"].state, results["load"].state) == ("failed", "done")
    assert exit_code(results.values()) == results["upload"].exit_code == 6


def test_with_the_database_down_fetch_pack_and_upload_still_happen(lab: Lab) -> None:
    results = lab.sweep(database_url="postgresql://nobody@127.0.0.1:9/lse")
    assert [results[step].state for step in ("fetch", "pack", "upload", "load")] == [
        "done",
        "done",
        "done",
        "failed",
    ]
    assert exit_code(results.values()) == results["load"].exit_code == 6
    assert list(lab.sandbox.drive.files()) == ["lse/chat/2025-09-13.zip"]
    lab.sandbox.langsmith.clear_log()
    again = lab.sweep()
    assert (exit_code(again.values()), again["load"].state, again["verify"].state) == (0, "done", "done")
    assert {entry.operation for entry in lab.sandbox.langsmith.log} == {"run_stats"}
    assert lab.execute("select runs, complete from project_days") == [(lab.sample.runs, True)]


def test_with_langsmith_down_nothing_else_is_touched(lab: Lab) -> None:
    lab.sandbox.langsmith.faults.add(Rule({"status": 503}, times=None))
    results = lab.sweep()
    assert states(results) == {"fetch": "failed"} | dict.fromkeys(
        ("pack", "upload", "load", "verify"), "not run"
    )
    assert exit_code(results.values()) == 6
    assert not lab.folder.exists() or archived_files(lab.folder) == []


def test_a_day_that_is_not_proved_complete_is_partial_all_the_way(lab: Lab) -> None:
    rule = Rule({"body": '{"run_count": 1}'}, operation="run_stats", times=None)
    lab.sandbox.langsmith.faults.add(rule)
    results = lab.sweep()
    assert (results["fetch"].state, exit_code(results.values())) == ("partial", 4)
    assert results["verify"].exit_code == 4
    assert "partial" in results["verify"].details[0]
    assert [results[step].state for step in ("pack", "upload", "load")] == ["done"] * 3
    lab.sandbox.langsmith.faults.clear()
    assert exit_code(lab.sweep().values()) == 0


def test_a_run_that_cannot_be_loaded_is_quarantined_and_known_to_verify(lab: Lab) -> None:
    run_id = str(UUID(int=77))
    text = json.dumps({"id": run_id, "trace_id": run_id, "start_time": "2025-09-13T01:00:00", "name": "odd"})
    huge = '"outputs":{"x":1e5000}'
    lab.sandbox.langsmith.load([f"{text[:-1]},{huge}}}".encode()], "chat")
    results = lab.sweep()
    assert (results["load"].state, results["load"].figures["quarantined"]) == ("partial", 1)
    assert exit_code(results.values()) == 4
    assert results["verify"].details == (f"1 run of {DAY} in quarantine: see `lse db quarantine`",)


# --- verify


def test_a_row_that_is_gone_is_named_and_loaded_again(lab: Lab) -> None:
    lab.sweep()
    ((run_id, trace_id),) = lab.execute(
        "delete from runs where run_id = (select min(run_id::text)::uuid from runs) "
        " returning run_id, trace_id"
    )
    result = lab.verify()
    assert (result.state, result.exit_code) == ("differences", 3)
    assert result.details == (f"run {run_id} of trace {trace_id} is missing in store",)
    assert result.hint == "Write that copy again: lse archive to-db --project chat --date 2025-09-13"
    lab.step(load)
    assert lab.verify().exit_code == 0


def test_a_day_that_is_loaded_is_not_read_again_until_a_row_of_it_is_gone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lab.sweep()["load"]
    read: list[DayReader] = []
    traces = DayReader.traces
    monkeypatch.setattr(DayReader, "traces", lambda reader: read.append(reader) or traces(reader))

    assert (lab.step(load).figures["unchanged"], read) == (first.figures["inserted"], [])

    lab.execute("delete from runs where run_id = (select min(run_id::text)::uuid from runs)")
    assert (lab.step(load).figures["inserted"], len(read)) == (1, 1)
    assert (lab.step(load, overwrite=True).figures["updated"], len(read)) == (first.figures["inserted"], 2)


def test_a_row_that_changed_and_feedback_that_is_gone_are_named(lab: Lab) -> None:
    lab.sweep()
    changed = lab.execute(
        "update runs set content_hash = '00000000-0000-0000-0000-000000000000'"
        " where run_id = (select min(trace_id::text)::uuid from runs) returning run_id"
    )
    gone = lab.execute("delete from feedback returning feedback_id")
    details = lab.verify().details
    assert details == (
        *(f"run {run_id} of trace {run_id} differs in store" for (run_id,) in changed),
        *sorted(f"feedback {item} is missing in store" for (item,) in gone),
    )


def test_a_file_that_is_gone_is_named_and_restored_byte_for_byte(lab: Lab) -> None:
    lab.sweep()
    path = lab.files()[2]
    before, trace = path.read_bytes(), read_trace_file(path)
    notes = {note.name: note.read_bytes() for note in lab.folder.glob("_*")}
    path.unlink()
    result = lab.verify()
    assert result.exit_code == 3
    assert set(result.details) == {
        "files: they are not what the last fetch left",
        f"trace {trace.id} with its {len(trace.runs)} runs is missing in files",
        *(f"feedback {item.id} is missing in files" for item in trace.feedback),
    }
    assert result.hint == (
        "Write that copy again: lse archive restore --project chat --date 2025-09-13 --force"
    )
    lab.step(restore, force=True)
    assert path.read_bytes() == before
    assert {note.name: note.read_bytes() for note in lab.folder.glob("_*")} == notes
    assert {"_fetch.json", "_log.jsonl"} <= notes.keys()
    assert lab.verify().exit_code == 0


def test_a_changed_byte_in_a_file_is_found(lab: Lab) -> None:
    lab.sweep()
    path = lab.files()[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"success"', b'"successs"', 1))
    first, second, *_ = lab.verify().details
    assert first == "files: they are not what the last fetch left"
    assert second.startswith("run ")
    assert second.endswith("differs in files")
    path.write_bytes(content[:-3])
    assert f"files: {path.name} is damaged: it ends too early." in lab.verify().details


def test_a_changed_byte_in_the_zip_is_found_and_packing_repairs_it(lab: Lab) -> None:
    lab.sweep()
    content = bytearray(lab.zip.read_bytes())
    content[200] ^= 1
    lab.zip.write_bytes(content)
    result = lab.verify()
    assert result.exit_code == 3
    assert any(line.startswith("zip: ") and lab.files()[0].name in line for line in result.details)
    assert result.hint == "Write that copy again: lse archive zip --project chat --date 2025-09-13"
    with pytest.raises(DamagedArchive):
        lab.step(upload)
    assert lab.step(pack).state == "done"
    assert lab.verify().exit_code == 0


def test_an_object_that_is_gone_or_other_bytes_in_the_target_is_named(lab: Lab, tmp_path: Path) -> None:
    lab.flags["target"] = f"directory:{tmp_path / 'target'}"
    lab.sweep()
    stored = next(path for path in (tmp_path / "target").rglob("*.zip"))
    content = stored.read_bytes()
    stored.unlink()
    assert lab.verify().details == ("chat/2025-09-13.zip is missing in target",)
    stored.write_bytes(content[:-1] + b"x")
    assert lab.verify().exit_code == 3
    assert "target" in lab.verify().details[0]


def test_a_zip_that_is_gone_is_named(lab: Lab) -> None:
    lab.sweep()
    lab.zip.unlink()
    assert lab.verify().details[0] == "2025-09-13.zip is missing in zip"


def test_verify_changes_nothing(lab: Lab) -> None:
    lab.sweep()
    lab.files()[0].unlink()
    before = {path: path.read_bytes() for path in (*lab.files(), lab.zip)}
    rows = lab.execute("select count(*), max(loaded_at) from runs")
    lab.verify(deep=True)
    assert {path: path.read_bytes() for path in (*lab.files(), lab.zip)} == before
    assert lab.execute("select count(*), max(loaded_at) from runs") == rows


def test_a_deep_verify_reads_the_target(lab: Lab) -> None:
    lab.sweep()
    result = lab.verify(deep=True)
    assert (result.exit_code, result.figures["differences"]) == (0, 0)
    assert f"target {lab.sample.runs}" in str(result.figures["copies"])


def test_verify_of_a_day_nobody_fetched_is_a_wrong_command(lab: Lab) -> None:
    with pytest.raises(UsageError, match="Nothing of chat/2025-09-13 is archived"):
        lab.verify()


# --- nothing shrinks


def test_what_a_fetch_left_that_was_killed_at_its_end_goes_away(lab: Lab) -> None:
    lab.sweep()
    with lab.resources() as opened:
        left = opened.spool_folder(DAY)
    left.mkdir(parents=True)
    assert lab.sweep()["fetch"].state == "unchanged"
    assert not left.exists()


def test_a_settled_day_that_lost_a_file_is_fetched_again(lab: Lab) -> None:
    lab.sweep()
    before = set(lab.texts())
    lab.files()[0].unlink()
    results = lab.sweep()
    assert (results["fetch"].state, exit_code(results.values())) == ("done", 0)
    assert set(lab.texts()) == before


def test_a_change_to_a_file_is_never_spread_and_the_next_sweep_heals_it(lab: Lab) -> None:
    lab.sweep()
    path = lab.files()[0]
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"success"', b'"sUccess"', 1))
    for step in (pack, load):
        with pytest.raises(DifferencesFound, match="not those that the last fetch left"):
            lab.step(step)
    assert exit_code(lab.sweep().values()) == 0
    assert path.read_bytes() == before


def test_files_that_are_all_gone_are_missed_and_not_taken_for_an_empty_day(lab: Lab) -> None:
    lab.sweep()
    lab.zip.unlink()
    for path in archived_files(lab.folder):
        path.unlink()
    for step in (pack, load):
        with pytest.raises(DifferencesFound, match="are gone; the last fetch left"):
            lab.step(step)
    assert lab.step(restore).state == "done"
    assert lab.verify().exit_code == 3  # the zip is missed too
    assert lab.step(pack).state == "done"
    assert lab.verify().exit_code == 0


def test_the_zip_of_another_day_is_neither_uploaded_nor_kept(lab: Lab) -> None:
    lab.sweep()
    before = lab.zip.read_bytes()
    other = ProjectDay(DAY.project, DAY.day - timedelta(days=1))
    write_zip(lab.folder, describe_folder(lab.folder, other), lab.zip)
    with pytest.raises(DamagedArchive, match="holds chat/2025-09-12, not chat/2025-09-13"):
        lab.step(upload)
    assert lab.step(pack).state == "done"
    assert lab.zip.read_bytes() == before


def test_restore_takes_the_local_zip_where_the_target_holds_none(lab: Lab) -> None:
    lab.sweep()
    before = {path.name: path.read_bytes() for path in archived_files(lab.folder)}
    with lab.resources() as resources:
        resources.target.trash("chat/2025-09-13.zip")
    for path in archived_files(lab.folder):
        path.unlink()
    assert lab.step(restore).state == "done"
    assert {path.name: path.read_bytes() for path in archived_files(lab.folder)} == before


def test_packing_never_shrinks_a_zip(lab: Lab) -> None:
    lab.sweep()
    before = lab.zip.read_bytes()
    lab.files()[0].unlink()
    with pytest.raises(DifferencesFound, match="not those that the last fetch left") as caught:
        lab.step(pack)
    assert "lse archive restore" in caught.value.hint
    (lab.folder / "_fetch.json").unlink()
    with pytest.raises(DifferencesFound, match="holds more"):
        lab.step(pack)
    shutil.rmtree(lab.folder)
    assert lab.step(pack).state == "unchanged"
    assert lab.zip.read_bytes() == before


def test_a_forced_fetch_of_a_day_that_vanished_leaves_the_archive_as_it_is(lab: Lab) -> None:
    lab.sweep()
    before = lab.zip.read_bytes()
    shutil.rmtree(lab.folder)
    state = lab.sandbox.langsmith.state
    state.runs.drop(list(state.runs.between(state.projects.named("chat").id)))
    results = lab.sweep(force=True)
    assert lab.zip.read_bytes() == before
    assert states(results)["pack"] == states(results)["upload"] == "unchanged"
    assert lab.execute("select count(*) from runs") == [(lab.sample.runs,)]


def test_a_store_is_rebuilt_from_the_zip_alone(lab: Lab) -> None:
    lab.sweep()
    rows = lab.execute("select run_id, content_hash from runs order by 1")
    lab.execute("delete from runs returning 1")
    shutil.rmtree(lab.folder)
    assert lab.step(load).figures["inserted"] == lab.sample.runs
    assert lab.execute("select run_id, content_hash from runs order by 1") == rows


def test_restoring_from_the_target_into_nothing_gives_the_same_bytes(lab: Lab) -> None:
    lab.sweep()
    before = {path.name: path.read_bytes() for path in lab.files()}
    shutil.rmtree(lab.folder)
    lab.zip.unlink()
    lab.step(restore)
    assert {path.name: path.read_bytes() for path in lab.files()} == before


# --- a fuller archive in the target is never replaced


def test_an_upload_of_less_than_the_target_holds_is_refused_and_says_how_both_come_together(lab: Lab) -> None:
    lab.sweep()
    before = lab.sandbox.drive.files()
    lost, expired = lab.files()[0].name, lab.trace()
    lab.on_another_machine()
    lab.expire(expired)
    results = lab.sweep()
    assert (results["upload"].state, results["upload"].exit_code) == ("failed", 3)
    assert results["upload"].summary == (
        f"The target's chat/2025-09-13.zip holds more of 3 files than the zip here, first of {lost}."
    )
    assert results["upload"].hint.startswith("Bring it back: lse archive restore --project chat")
    assert lab.sandbox.drive.files() == before
    with pytest.raises(DifferencesFound, match="holds more of 3 files"):
        lab.step(upload, force=True)


def test_what_was_refused_comes_together_by_the_commands_that_were_named(lab: Lab) -> None:
    lab.sweep()
    texts, expired = lab.texts(), lab.trace()
    lab.on_another_machine()
    lab.expire(expired)
    assert lab.sweep()["upload"].state == "failed"
    lab.step(restore, force=True)
    results = lab.sweep(force=True)
    assert exit_code(results.values()) == 0
    assert lab.texts() == texts


def test_more_than_the_target_holds_replaces_it(lab: Lab) -> None:
    lab.sweep()
    one = str(UUID(int=77))
    text = f'{{"id":"{one}","trace_id":"{one}","start_time":"2025-09-13T01:00:00","name":"late"}}'
    lab.sandbox.langsmith.load([text.encode()], "chat")
    assert lab.sweep(force=True)["upload"].state == "done"
    assert lab.verify(deep=True).exit_code == 0


def test_a_target_copy_that_cannot_be_read_is_replaced_only_when_asked(lab: Lab, tmp_path: Path) -> None:
    lab.flags["target"] = f"directory:{tmp_path / 'target'}"
    lab.sweep()
    stored = tmp_path / "target" / "chat" / "2025-09-13.zip"
    stored.write_bytes(b"no zip at all")
    with pytest.raises(DifferencesFound, match="cannot be read") as caught:
        lab.step(upload)
    assert caught.value.hint.endswith("lse archive upload --project chat --date 2025-09-13 --force")
    lab.step(upload, force=True)
    assert stored.read_bytes() == lab.zip.read_bytes()


def test_other_bytes_of_the_same_content_are_no_difference_and_not_sent_again(lab: Lab) -> None:
    lab.sweep()
    repack(lab.zip)
    assert lab.verify().figures["copies"] == (
        f"files {lab.sample.runs}, zip {lab.sample.runs}, target same content, store {lab.sample.runs}"
    )
    lab.sandbox.drive.clear_log()
    assert lab.step(upload).state == "unchanged"
    assert [entry for entry in lab.sandbox.drive.log if entry.operation == "upload_chunk"] == []


def repack(path: Path) -> None:
    """Write the zip with the same members, stored, so that its bytes are others."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members:
            archive.writestr(info, content, zipfile.ZIP_STORED)


# --- two at once


def test_two_sweeps_of_a_day_at_once_are_one_too_many(lab: Lab) -> None:
    with lab.resources() as first, first.lock(DAY):
        with pytest.raises(BusyError):
            in_turn(lab.sweep, seconds=0.5)
        with pytest.raises(BusyError):
            lab.sweep(state_dir=lab.flags["state_dir"] / "elsewhere")
        assert exit_code(lab.sweep(day=EMPTY).values()) == 0
        first.source.close()
    assert exit_code(lab.sweep().values()) == 0


def test_of_many_sweeps_at_once_each_is_done_or_busy(lab: Lab) -> None:
    outcomes: list[int] = []

    def sweep() -> None:
        try:
            outcomes.append(exit_code(lab.sweep("upload").values()))
        except BusyError as error:
            outcomes.append(error.exit_code)

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes) <= {0, 6}
    assert outcomes.count(0) >= 1
    assert lab.verify(target=None).exit_code == 0


def test_a_ledger_that_goes_away_in_the_middle_stops_no_other_step(lab: Lab) -> None:
    with lab.resources() as resources:
        vars(resources)["ledger"] = Store("postgresql://nobody@127.0.0.1:9/lse")
        assert [step(resources, DAY).state for step in (fetch, pack, upload)] == ["done"] * 3
        resources.source.close()


@pytest.mark.parametrize("skip", [(), ("fetch",)])
def test_a_mistyped_project_and_a_day_to_come_leave_no_trace(lab: Lab, skip: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="project called 'caht'"):
        lab.sweep(*skip, day=ProjectDay("caht", DAY.day))
    with pytest.raises(UsageError, match=r"has not begun|Nothing of a project"):
        lab.sweep(*skip, day=ProjectDay("chat", date(2999, 1, 1)))
    assert lab.execute("select project from project_days union all select project from events") == []
