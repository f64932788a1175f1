"""`prune`: what may go, what stays, that nothing is lost, and that nobody misses what went on purpose."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from lab import DAY, Lab

from lse.archive.fetch_record import read_fetch_record, write_fetch_record
from lse.archive.layout import archived_files
from lse.archive.manifest import content_sha256_of
from lse.errors import ConfigurationError, IncompleteError, UsageError
from lse.pipeline import Pruned, exit_code, load, pack, prune, report, restore, restore_trace, upload
from lse.reports import Request
from lse.sandbox.faults import Rule


def run(lab: Lab, *what: str, execute: bool = True, **options: Any) -> list[Pruned]:
    options = {"keep_days": 30, "max_share": 100} | options
    with lab.resources() as resources:
        try:
            return prune(resources, None, what=what, execute=execute, **options)
        finally:
            resources.source.close()


def everything(*roots: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()}


def contents(paths: Sequence[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture
def swept(lab: Lab) -> Lab:
    lab.sweep()
    return lab


# --- what goes


def test_a_dry_run_says_what_would_go_and_changes_nothing(swept: Lab) -> None:
    roots = (swept.flags["data_dir"], swept.flags["archive_dir"])
    before = everything(*roots)
    (said,) = run(swept, "files", "zip", execute=False)
    assert (said.day, said.copies, said.left, said.reason) == (
        DAY,
        ("files", "zip"),
        "the target, the store",
        "",
    )
    assert everything(*roots) == before
    assert run(swept, "files", "zip") == [said]


def test_trace_files_go_to_the_trash_and_come_back_from_the_target(swept: Lab) -> None:
    before = contents(archived_files(swept.folder))
    (done,) = run(swept, "files")
    assert (done.copies, done.left) == (("files",), "this disk, the target, the store")
    assert done.bytes == sum(map(len, before.values()))
    assert archived_files(swept.folder) == []
    (kept,) = (swept.flags["data_dir"] / ".trash").glob("*/chat/2025-09-13")
    assert contents(list(kept.iterdir())) == before
    swept.step(restore)
    assert contents(archived_files(swept.folder)) == before
    assert swept.verify().exit_code == 0


def test_what_was_pruned_is_not_missed_and_a_sweep_brings_nothing_back(swept: Lab) -> None:
    run(swept, "files", "zip")
    verified = swept.verify()
    assert verified.exit_code == 0
    assert verified.figures["copies"] == (
        f"target same content, store {swept.sample.runs}; pruned: files, zip"
    )
    swept.sandbox.drive.clear_log()
    results = swept.sweep()
    assert exit_code(results.values()) == 0
    states = [results[step].state for step in ("fetch", "pack", "upload", "load", "verify")]
    assert states == ["unchanged", "unchanged", "unchanged", "unchanged", "done"]
    assert (archived_files(swept.folder), swept.zip.exists()) == ([], False)
    assert run(swept, "files", "zip") == []


def test_after_everything_here_went_a_restore_and_a_pack_make_it_whole(swept: Lab) -> None:
    before, zipped = contents(archived_files(swept.folder)), swept.zip.read_bytes()
    run(swept, "files", "zip")
    assert swept.step(load).state == "unchanged"  # from the target
    with pytest.raises(UsageError, match="were pruned") as caught:
        swept.step(pack)
    assert caught.value.hint.endswith("lse archive restore --project chat --date 2025-09-13")
    swept.step(restore)
    assert swept.step(pack).state == "done"
    assert (contents(archived_files(swept.folder)), swept.zip.read_bytes()) == (before, zipped)
    assert "pruned" not in str(swept.verify().figures["copies"])


def test_what_is_lost_after_it_came_back_is_missed(swept: Lab) -> None:
    run(swept, "files")
    swept.step(restore)
    for path in archived_files(swept.folder):
        path.unlink()
    assert swept.verify().exit_code == 3


def test_one_trace_of_a_pruned_day_comes_back_and_troubles_nobody(swept: Lab) -> None:
    trace, files = swept.trace(), contents(archived_files(swept.folder))
    run(swept, "files", "zip")
    swept.step(restore_trace, trace_id=trace)
    assert contents(archived_files(swept.folder)).items() < files.items()
    assert exit_code(swept.sweep().values()) == 0
    assert swept.verify(deep=True).exit_code == 0
    path = swept.files()[0]
    path.write_bytes(path.read_bytes()[:-3])
    assert swept.verify(deep=True).exit_code == 3


def test_an_object_of_the_target_goes_to_its_trash_and_is_not_sent_again(swept: Lab) -> None:
    (done,) = run(swept, "target")
    assert (done.copies, done.left) == (("target",), "this disk, the store")
    assert swept.sandbox.drive.files() == {}
    assert exit_code(swept.sweep().values()) == 0
    assert swept.sandbox.drive.files() == {}
    assert swept.verify().exit_code == 0
    assert swept.step(upload).state == "done"
    assert list(swept.sandbox.drive.files()) == ["lse/chat/2025-09-13.zip"]


def test_runs_that_come_later_are_archived_again(swept: Lab) -> None:
    run(swept, "files")
    one = "00000000-0000-0000-0000-00000000004d"
    text = f'{{"id":"{one}","trace_id":"{one}","start_time":"2025-09-13T01:00:00","name":"late"}}'
    swept.sandbox.langsmith.load([text.encode()], "chat")
    results = swept.sweep(force=True)
    assert [results[step].state for step in ("fetch", "pack", "upload", "load")] == ["done"] * 4
    assert swept.verify(deep=True).exit_code == 0


def test_a_report_from_files_that_were_pruned_says_so_and_the_stores_is_right(swept: Lab) -> None:
    run(swept, "files")
    request = Request(DAY.day, DAY.day, "chat")
    with swept.resources() as resources:
        with pytest.raises(IncompleteError, match="The trace files of chat/2025-09-13 were pruned"):
            report(resources, "zenrows-errors", request, origin="files")
        assert report(resources, "zenrows-errors", request).splitlines()[1].startswith("2025-09-13,6,")
        resources.source.close()


def test_a_zip_that_is_not_of_the_trace_files_stays_with_them(swept: Lab) -> None:
    with (swept.folder / "superseded.jsonl").open("ab") as file:
        file.write(b'{"id":"00000000-0000-0000-0000-00000000004d"}\n')
    record = read_fetch_record(swept.folder)
    assert record is not None
    write_fetch_record(swept.folder, replace(record, content_sha256=content_sha256_of(swept.folder)))
    (said,) = run(swept, "files")
    assert (said.copies, said.exit_code) == ((), 3)
    assert swept.step(pack).state == swept.step(upload).state == "done"
    assert run(swept, "files")[0].copies == ("files",)


# --- what stays


def test_days_of_late_stay(swept: Lab) -> None:
    with swept.resources() as resources:
        age = (resources.now().date() - DAY.day).days
        resources.source.close()
    assert run(swept, "files", keep_days=age) == []
    assert len(run(swept, "files", keep_days=age - 1, execute=False)) == 1


def test_too_large_a_share_of_the_days_is_refused(swept: Lab) -> None:
    before = everything(swept.flags["data_dir"])
    with pytest.raises(UsageError, match=r"1 day of 1 archived, 100 %; at most 10 % are allowed") as caught:
        run(swept, "files", max_share=10)
    assert "--max-share 100" in caught.value.hint
    assert everything(swept.flags["data_dir"]) == before


def test_what_would_be_left_in_one_place_stays(lab: Lab) -> None:
    lab.sweep("load")
    (said,) = run(lab, "files", "zip")
    assert (said.copies, said.reason, said.exit_code) == ((), "It would be left in the target only.", 4)
    assert archived_files(lab.folder) != []
    assert run(lab, "files")[0].copies == ("files",)


def test_a_day_that_differs_stays(swept: Lab) -> None:
    swept.execute("delete from runs where run_id = (select min(run_id::text)::uuid from runs)")
    (said,) = run(swept, "files")
    assert (said.copies, said.exit_code) == ((), 3)
    assert said.reason.startswith("1 difference (copies: ")
    assert archived_files(swept.folder) != []


def test_a_target_that_is_damaged_inside_is_read_before_the_last_copy_here_goes(
    lab: Lab, tmp_path: Path
) -> None:
    lab.flags["target"] = f"directory:{tmp_path / 'target'}"
    lab.sweep()
    stored = tmp_path / "target" / "chat" / "2025-09-13.zip"
    stored.write_bytes(stored.read_bytes()[:-1])
    (said,) = run(lab, "files", "zip")
    assert (said.copies, said.exit_code) == ((), 3)
    assert lab.zip.exists()


def test_a_target_that_does_not_answer_leaves_everything_here(swept: Lab) -> None:
    swept.sandbox.drive.faults.add(Rule({"status": 403, "reason": "insufficientPermissions"}, times=None))
    (said,) = run(swept, "files")
    assert (said.copies, said.exit_code) == ((), 5)
    assert archived_files(swept.folder) != []


def test_a_partial_day_stays(lab: Lab) -> None:
    lab.sandbox.langsmith.faults.add(Rule({"body": '{"run_count": 1}'}, operation="run_stats", times=None))
    lab.sweep()
    (said,) = run(lab, "files")
    assert (said.reason, said.exit_code) == ("The fetch of chat/2025-09-13 is not complete and settled.", 4)


def test_a_busy_day_stays(swept: Lab) -> None:
    with swept.resources() as other, other.lock(DAY):
        (said,) = run(swept, "files")
        other.source.close()
    assert (said.copies, said.exit_code) == ((), 6)


def test_an_encrypted_target_is_not_the_last_archive_without_the_key(lab: Lab, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    lab.flags["age_recipient"] = str(identity.to_public())
    lab.sweep()
    with pytest.raises(ConfigurationError, match="no private key is set"):
        run(lab, "files", "zip")
    lab.flags["age_identity"] = tmp_path / "identity"
    lab.flags["age_identity"].write_text(str(identity))
    lab.flags["age_identity"].chmod(0o600)
    assert run(lab, "files", "zip")[0].copies == ("files", "zip")
    assert lab.verify().exit_code == 0


def test_an_unknown_copy_is_a_wrong_command(lab: Lab) -> None:
    with pytest.raises(UsageError, match="store cannot be pruned") as caught:
        run(lab, "store")
    assert caught.value.hint == "There are: files, zip, target."


# --- what breaks off


def test_a_prune_that_was_killed_half_way_is_finished_by_the_next(
    swept: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(archived_files(swept.folder))
    rename, moved = Path.rename, []

    def failing(path: Path, target: Path) -> Path:
        if ".trash" in str(target):
            moved.append(path)
            if len(moved) == 3:
                raise OSError(5, "Input/output error", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    (said,) = run(swept, "files")
    assert (said.copies, said.exit_code) == ((), 6)
    monkeypatch.undo()
    assert swept.verify().exit_code == 0
    (done,) = run(swept, "files")
    assert done.copies == ("files",)
    assert archived_files(swept.folder) == []
    trashed = (swept.flags["data_dir"] / ".trash").rglob("*.*")
    assert contents([path for path in trashed if path.is_file()]) == before
