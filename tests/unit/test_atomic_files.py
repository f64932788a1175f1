"""Files that appear whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from lse.archive.files import atomic_file, output_file, write_atomically
from lse.errors import TemporaryError, UsageError


def test_the_file_replaces_an_earlier_one_with_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"earlier")
    write_atomically(path, b"later", 0o400)
    assert path.read_bytes() == b"later"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_block_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"earlier")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(b"half" * (1 // 0))
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_hidden_and_in_the_same_directory(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a") as file:
        file.write(b"x")
        (name,) = [p.name for p in tmp_path.iterdir()]
    assert name.startswith(".a.")
    assert name.endswith(".tmp")


def test_a_full_disk_is_temporary_and_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=r"disk is full: .*/a could not"), atomic_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_output_goes_behind_links_and_into_devices(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("real")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for place in (link, Path(f"/dev/fd/{reader}"), pipe):
        with output_file(place) as file:
            file.write(b"rows\n")
    assert (link.is_symlink(), (tmp_path / "real").read_bytes()) == (True, b"rows\n")
    assert (pipe.is_fifo(), os.read(reader, 100)) == (True, b"rows\nrows\n")
    os.close(reader)


def test_output_into_a_folder_that_is_not_there_is_a_wrong_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no directory"), output_file(tmp_path / "gone" / "file"):
        pass
