"""`list_days`: which days are archived, and where their copies are."""

import shutil
from datetime import date

import pyrage
import pytest
from lab import DAY, EMPTY, Lab

from lse.errors import UsageError
from lse.pipeline import ListedDay, list_days
from lse.pipeline.projects import archived_projects


def listed(lab: Lab, **options: bool) -> list[ListedDay]:
    with lab.resources() as resources:
        try:
            return list_days(resources, **options)
        finally:
            resources.source.close()


def test_a_swept_day_is_listed_with_each_copy(lab: Lab) -> None:
    lab.sweep()
    lab.sweep(day=EMPTY)
    (day,) = listed(lab, ask_target=True)
    assert (day.project, day.date, day.complete) == ("chat", date(2025, 9, 13), True)
    assert (day.traces, day.runs, day.store_runs) == (6, lab.sample.runs, lab.sample.runs)
    assert day.files_bytes == sum(path.stat().st_size for path in lab.folder.iterdir() if path.name[0] != "_")
    assert day.zip_bytes == day.target_bytes == lab.zip.stat().st_size
    assert (day.encrypted, day.differences, day.pruned) == (False, 0, ())
    assert day.uploaded_at is not None
    assert day.verified_at is not None


def test_the_target_is_asked_only_when_wanted_and_then_once(lab: Lab) -> None:
    lab.sweep()
    lab.sandbox.drive.clear_log()
    (day,) = listed(lab)
    assert (day.target_bytes, day.encrypted, day.uploaded_at is None) == (None, None, False)
    assert lab.sandbox.drive.log == ()
    listed(lab, ask_target=True)
    folders = 2  # the root and that of the project
    assert sum(entry.operation == "list_files" for entry in lab.sandbox.drive.log) <= folders + 1


def test_what_only_the_target_holds_is_listed_too(lab: Lab) -> None:
    lab.flags["age_recipient"] = str(pyrage.x25519.Identity.generate().to_public())
    lab.sweep()
    lab.on_another_machine()
    assert listed(lab) == []
    (day,) = listed(lab, ask_target=True)
    assert (day.day, day.encrypted, day.complete) == (DAY, True, None)
    assert (day.files_bytes, day.zip_bytes) == (None, None)
    assert day.target_bytes is not None


def test_without_a_database_the_disk_is_listed(lab: Lab) -> None:
    lab.sweep()
    lab.flags["database_url"] = "postgresql://nobody@127.0.0.1:9/lse"
    (day,) = listed(lab)
    assert (day.complete, day.runs, day.store_runs) == (True, lab.sample.runs, None)
    shutil.rmtree(lab.folder)
    (day,) = listed(lab)
    assert (day.complete, day.files_bytes, day.zip_bytes) == (None, None, lab.zip.stat().st_size)


def test_projects_can_be_chosen_among_those_that_are_archived(lab: Lab) -> None:
    lab.sweep("upload", "load", "verify")
    with lab.resources() as resources:
        assert archived_projects(resources) == {"chat"}
        assert [day.day for day in list_days(resources, ["chat"])] == [DAY]
        with pytest.raises(UsageError, match="Nothing of a project called 'chta' is archived") as refused:
            list_days(resources, ["chta"])
        assert refused.value.hint.startswith("Is it chat? ")
        resources.source.close()
