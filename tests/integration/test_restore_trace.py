"""One trace out of the target: few requests, checked, and nothing overwritten."""

import shutil
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
from lab import DAY, Lab

from lse.archive.identity import identify_run
from lse.archive.layout import archived_files, content_of_file
from lse.archive.trace_file import DamagedArchive, make_trace, write_trace
from lse.errors import UsageError
from lse.models import ProjectDay
from lse.pipeline import day_of_trace, pack, restore, restore_trace, upload
from lse.pipeline.ranged import RangedFile, buffered


def media(lab: Lab) -> list[int]:
    """How many bytes each read of content from Drive gave."""
    return [entry.bytes_out for entry in lab.sandbox.drive.log if entry.operation == "download"]


@pytest.fixture
def swept(lab: Lab) -> Lab:
    lab.sweep()
    lab.sandbox.drive.clear_log()
    return lab


def plain_trace(lab: Lab) -> Path:
    """A trace file that names no stored files."""
    return next(path for path in lab.files() if b'],"files":[\n]}' in path.read_bytes())


def trace_id(path: Path) -> UUID:
    return UUID(path.stem[7:])


def test_one_trace_comes_back_in_two_requests(swept: Lab) -> None:
    path = plain_trace(swept)
    content = path.read_bytes()
    shutil.rmtree(swept.folder)
    swept.zip.unlink()
    result = swept.step(restore_trace, trace_id=trace_id(path))
    assert (result.state, result.figures) == ("done", {"files": 1, "written": 1})
    assert [file.name for file in archived_files(swept.folder)] == [path.name]
    assert path.read_bytes() == content
    assert len(media(swept)) <= 2


def test_two_requests_are_enough_also_on_a_day_of_many_traces(lab: Lab) -> None:
    traces = [UUID(int=n << 64 | 0x8000 << 48) for n in range(1, 3_001)]
    lab.folder.mkdir(parents=True)
    for trace in traces:
        text = f'{{"id":"{trace}","trace_id":"{trace}","start_time":"2025-09-13T01:00:00","name":"one"}}'
        write_trace(lab.folder, make_trace(trace, [identify_run(text.encode())]), name_later=True)
    lab.step(pack)
    lab.step(upload)
    lab.sandbox.drive.clear_log()
    shutil.rmtree(lab.folder)
    assert lab.step(restore_trace, trace_id=traces[7]).state == "done"
    assert len(media(lab)) == 2
    assert 256 * 1024 < sum(media(lab)) < lab.zip.stat().st_size


def test_its_stored_files_come_with_it(swept: Lab) -> None:
    path = next(
        path for path in swept.files() if path != plain_trace(swept) and b'"sha256"' in path.read_bytes()
    )
    before = {file.name: file.read_bytes() for file in archived_files(swept.folder)}
    shutil.rmtree(swept.folder)
    result = swept.step(restore_trace, trace_id=trace_id(path))
    after = {file.name: file.read_bytes() for file in archived_files(swept.folder)}
    assert path.name in after
    assert sum(content_of_file(name) is not None for name in after) == result.figures["files"] - 1 > 0
    assert after.items() <= before.items()


def test_a_damaged_file_is_healed_and_the_day_is_whole_again(swept: Lab) -> None:
    path = swept.files()[0]
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(UsageError, match=f"holds another {path.name} than the archive") as caught:
        swept.step(restore_trace, trace_id=trace_id(path))
    assert "--force" in caught.value.hint
    result = swept.step(restore_trace, trace_id=trace_id(path), force=True)
    kept = swept.folder.with_name("2025-09-13.replaced-1")
    assert result.summary.endswith(f"; what was there is in {kept}")
    assert (path.read_bytes(), (kept / path.name).read_bytes()) == (content, content[:-3])
    assert swept.verify().exit_code == 0


def test_a_trace_that_is_there_is_left_alone(swept: Lab) -> None:
    result = swept.step(restore_trace, trace_id=trace_id(swept.files()[0]))
    assert (result.state, result.figures["written"]) == ("unchanged", 0)


def test_a_trace_of_another_day_is_a_wrong_command(swept: Lab) -> None:
    with pytest.raises(UsageError, match=f"The archive of {DAY} holds no trace {UUID(int=1)}"):
        swept.step(restore_trace, trace_id=UUID(int=1))


def test_without_a_target_the_local_zip_is_read(swept: Lab) -> None:
    path = swept.files()[0]
    content = path.read_bytes()
    shutil.rmtree(swept.folder)
    swept.flags["target"] = None
    assert swept.step(restore_trace, trace_id=trace_id(path)).state == "done"
    assert path.read_bytes() == content


def test_a_changed_byte_in_the_target_is_found_before_anything_is_written(lab: Lab, tmp_path: Path) -> None:
    lab.flags["target"] = f"directory:{tmp_path / 'target'}"
    lab.sweep()
    first = lab.files()[0]
    stored = tmp_path / "target" / "chat" / "2025-09-13.zip"
    content = bytearray(stored.read_bytes())
    begin = content.index(first.name.encode()) + 200
    content[begin] ^= 1
    stored.write_bytes(content)
    shutil.rmtree(lab.folder)
    with pytest.raises(DamagedArchive):
        lab.step(restore_trace, trace_id=trace_id(first))
    assert not lab.folder.exists()


def test_the_day_of_a_trace_is_looked_up_in_the_store_then_in_files_and_zips(swept: Lab) -> None:
    trace = swept.trace()
    with swept.resources() as resources:
        assert day_of_trace(resources, trace) == DAY
        swept.execute("truncate runs")
        assert day_of_trace(resources, trace) == DAY
        shutil.rmtree(swept.folder)
        assert day_of_trace(resources, trace) == DAY
        with pytest.raises(UsageError, match="neither in the store nor in an archive"):
            day_of_trace(resources, trace, lambda day: day.project == "other")
        resources.source.close()


def test_a_trace_of_several_days_is_not_guessed(swept: Lab) -> None:
    trace, other = swept.trace(), swept.folder.with_name("2025-09-14")
    swept.execute("truncate runs")
    shutil.copytree(swept.folder, other)
    with swept.resources() as resources:
        with pytest.raises(UsageError, match="is in 2 days: chat/2025-09-13, chat/2025-09-14") as refused:
            day_of_trace(resources, trace)
        assert refused.value.hint == "Say which: --project chat --date 2025-09-13"
        assert day_of_trace(resources, trace, lambda day: day != DAY).day == date(2025, 9, 14)
        resources.source.close()


def test_a_day_that_is_nowhere_is_said_with_what_to_type(swept: Lab) -> None:
    missing = ProjectDay("chat", date(2025, 9, 12))
    with pytest.raises(
        UsageError, match="and the target drive holds no archive of chat/2025-09-12"
    ) as refused:
        swept.step(restore, missing)
    assert refused.value.hint == "See what there is: lse archive list --ask-target"
    swept.flags["target"] = None
    with pytest.raises(UsageError, match="and no target is set") as refused:
        swept.step(restore, missing)
    assert refused.value.hint == "Set LSE_TARGET to where it was uploaded."


# --- a part of a file as a file


class Remote:
    """Bytes far away, and what was asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, length: int) -> bytes:
        self.asked.append((start, length))
        return self.content[start : start + length]

    def file(self, tail_bytes: int) -> RangedFile:
        return RangedFile(self.read, len(self.content), tail_bytes)


def test_what_was_read_is_not_asked_for_again() -> None:
    remote = Remote(bytes(range(100)))
    file = remote.file(20)
    file.load(30, 50)
    file.load(20, 90)
    file.load(0, 100)
    assert remote.asked == [(80, 20), (30, 20), (20, 10), (50, 30), (0, 20)]
    assert buffered(file).read() == remote.content
    assert len(remote.asked) == 5


@pytest.mark.parametrize("tail_bytes", [1, 22, 1000, 10**6])
def test_a_file_reads_as_if_it_were_here(tail_bytes: int) -> None:
    remote = Remote(bytes(n % 251 for n in range(600_000)))
    file = buffered(remote.file(tail_bytes))
    for offset, length in ((0, 10), (599_990, 100), (123_456, 300_000), (0, 600_000), (600_000, 1)):
        file.seek(offset)
        assert file.read(length) == remote.content[offset : offset + length]


def test_an_object_that_shrank_meanwhile_ends_early() -> None:
    remote = Remote(b"x" * 100)
    file = remote.file(10)
    remote.content = b"x" * 50
    assert buffered(file).read() == b"x" * 50
