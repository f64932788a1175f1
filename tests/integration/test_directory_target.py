"""What a directory does beyond the contract of targets."""

import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from lse.errors import AccessError, ConfigurationError, DifferencesFound, TemporaryError
from lse.settings import Settings
from lse.targets import Target, directory, open_target
from lse.targets._measure import Measure, measure

PATH = "my-project/2025-09-13.zip"
MD5_OF_ONE = "f97c5d29941bfb1b2fdab0874906ab82"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def target(root: Path) -> Target:
    return open_target(f"directory:{root}", Settings(_env_file=None))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "day.zip"
    path.write_bytes(b"one")
    return path


def files(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_replaced_and_trashed_content_is_kept_under_its_checksum(
    target: Target, root: Path, file: Path
) -> None:
    target.put(PATH, file, {})
    file.write_bytes(b"two")
    target.put(PATH, file, {})
    target.trash(PATH)
    kept = root / ".trash" / "my-project"
    assert (kept / f"2025-09-13.zip.{MD5_OF_ONE}").read_bytes() == b"one"
    assert sorted(p.read_bytes() for p in kept.iterdir()) == [b"one", b"two"]


def test_files_are_private_and_properties_stand_beside(target: Target, root: Path, file: Path) -> None:
    target.put(PATH, file, {"a": "1"})
    assert files(root) == [f".properties/{PATH}.json", PATH]
    assert {stat.S_IMODE((root / f).stat().st_mode) for f in files(root)} == {0o600}


def test_properties_of_earlier_content_are_not_believed(target: Target, root: Path, file: Path) -> None:
    target.put(PATH, file, {"a": "1"})
    (root / PATH).write_bytes(b"changed by hand")
    found = target.find(PATH)
    assert found is not None
    assert dict(found.properties) == {}


def test_damaged_properties_are_reported(target: Target, root: Path, file: Path) -> None:
    target.put(PATH, file, {"a": "1"})
    (root / ".properties" / f"{PATH}.json").write_text("{")
    with pytest.raises(DifferencesFound, match="cannot be read"):
        target.find(PATH)


def test_a_link_that_leads_out_is_refused(target: Target, root: Path, file: Path, tmp_path: Path) -> None:
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "my-project").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="leads out of the target directory"):
        target.put(PATH, file, {})


def test_a_directory_whose_parent_is_missing_is_refused(tmp_path: Path, file: Path) -> None:
    target = open_target(f"directory:{tmp_path / 'not-mounted' / 'backup'}", Settings(_env_file=None))
    with pytest.raises(ConfigurationError, match="not-mounted is missing"):
        target.check()
    with pytest.raises(ConfigurationError, match="not-mounted is missing"):
        target.put(PATH, file, {})


@pytest.mark.parametrize(("number", "kind"), [(errno.EACCES, AccessError), (errno.EIO, TemporaryError)])
def test_errors_of_the_file_system_are_told_apart(tmp_path: Path, number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=str(tmp_path)), directory._translated(tmp_path / "x"):
        raise OSError(number, os.strerror(number))


def test_a_list_reads_again_only_what_changed_and_a_look_up_always_reads(
    target: Target, root: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def reading(path: Path) -> Measure:
        reads.append(path.name)
        return measure(path)

    monkeypatch.setattr("lse.targets._digests.measure", reading)
    for name in ("a/1.zip", "a/2.zip"):
        target.put(name, file, {"a": "1"})
    first = list(target.list())
    assert list(target.list()) == first
    assert reads == ["1.zip", "2.zip"] * 2  # changed less than two seconds before they were noted
    monkeypatch.setattr("lse.targets._digests._RACY_NS", 0)
    assert (list(target.list()), len(reads)) == (first, 4)
    before = (root / "a/1.zip").stat()
    (root / "a/1.zip").write_bytes(b"two")
    os.utime(root / "a/1.zip", ns=(before.st_atime_ns, before.st_mtime_ns))
    (root / "a/2.zip").write_bytes(b"damaged without a write")
    _pretend_unchanged(root, "a/2.zip")
    changed, known = list(target.list())
    assert (changed.md5, known.md5) == (hashlib.md5(b"two").hexdigest(), MD5_OF_ONE)
    found = target.find("a/2.zip")
    assert found is not None
    assert found.md5 == hashlib.md5(b"damaged without a write").hexdigest()


def _pretend_unchanged(root: Path, path: str) -> None:
    """Note the file as it is with the MD5 that it had."""
    stat = (root / path).stat()
    identity = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    note = root / ".digests" / f"{path}.json"
    note.write_text(json.dumps({"file": identity, "md5": MD5_OF_ONE}))
    os.utime(note, ns=(0, stat.st_ctime_ns + 1))


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"file": [], "md5": 1}', b"\xff"])
def test_a_note_that_cannot_be_read_is_as_none(target: Target, root: Path, file: Path, note: bytes) -> None:
    target.put(PATH, file, {})
    stored = list(target.list())
    (root / ".digests" / f"{PATH}.json").write_bytes(note)
    assert list(target.list()) == stored


def test_a_directory_that_takes_no_notes_is_listed_all_the_same(
    target: Target, root: Path, file: Path
) -> None:
    target.put(PATH, file, {})
    (root / ".digests").write_text("in the way")
    assert [stored.md5 for stored in target.list()] == [MD5_OF_ONE]
