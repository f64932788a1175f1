"""Manifests and zips: equal content gives equal bytes; what is not ours is refused before it is written."""

import hashlib
import importlib.util
import io
import json
import random
import shutil
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from fetch_records import fetch_record

from lse.archive.fetch_record import FetchRecord, write_fetch_record
from lse.archive.files import blocks_of
from lse.archive.holding import holding_of
from lse.archive.identity import identify_run
from lse.archive.manifest import Manifest, describe_folder, dump_manifest, parse_manifest
from lse.archive.restore import restore_zip
from lse.archive.trace_file import DamagedArchive, make_trace, write_trace
from lse.archive.zip import describe_zip, limits, open_zip, packed_zip, write_zip, writing
from lse.archive.zip.limits import excess
from lse.archive.zip.records import Member, directory, local_header
from lse.errors import TemporaryError, UsageError
from lse.models import ProjectDay, content_hash, read_entries

DAY = ProjectDay("chat", date(2025, 9, 13))
T1 = UUID("0199d0aa-0000-7000-8000-000000000001")
T2 = UUID("0199d0aa-0000-7000-8000-000000000002")
FIRST, SECOND = f"101112_{T1}.json", f"111112_{T2}.json"


def run_text(trace: UUID, hour: int, **more: Any) -> bytes:
    values = {
        "id": str(trace),
        "trace_id": str(trace),
        "start_time": f"2025-09-13T{hour}:11:12",
        "status": "success",
    }
    return json.dumps(values | more).encode()


def write_day(folder: Path, **more: Any) -> Path:
    """Two traces of one run each, and a run without a trace."""
    folder.mkdir(parents=True)
    for trace, hour in ((T2, 11), (T1, 10)):
        write_trace(folder, make_trace(trace, [identify_run(run_text(trace, hour, **more))], []))
    (folder / "unplaced.jsonl").write_bytes(b'{"id":null}\n')
    (folder / "_fetch.json").write_bytes(b"{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_day(tmp_path / "data" / "chat" / "2025-09-13")


@pytest.fixture
def day_zip(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "archives" / "chat" / "2025-09-13.zip"
    write_zip(folder, describe_folder(folder, DAY), path)
    return path


# --- what is written


def test_the_manifest_spelled_out(tmp_path: Path) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    (folder / "unplaced.jsonl").write_bytes(b"{}\n{}\n")
    digest = hashlib.sha256(b"{}\n{}\n").hexdigest()
    content = hashlib.sha256(f"unplaced.jsonl\0{digest}\n".encode()).hexdigest()
    assert dump_manifest(describe_folder(folder, ProjectDay("Grüße", DAY.day))).decode() == (
        "{\n"
        '  "format": "lse-archive/1",\n'
        '  "project": "Gr\\u00fc\\u00dfe",\n'
        '  "date": "2025-09-13",\n'
        f'  "content_sha256": "{content}",\n'
        '  "counts": {\n'
        '    "traces": 0,\n'
        '    "runs": 0,\n'
        '    "feedback": 0,\n'
        '    "unplaced": 2,\n'
        '    "superseded": 0,\n'
        '    "stored_files": 0,\n'
        '    "bytes": 6\n'
        "  },\n"
        '  "files": [\n'
        "    {\n"
        '      "path": "unplaced.jsonl",\n'
        '      "size": 6,\n'
        f'      "sha256": "{digest}",\n'
        '      "runs": 2,\n'
        '      "feedback": 0\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )


def test_a_manifest_is_read_back(folder: Path) -> None:
    manifest = describe_folder(folder, DAY)
    assert parse_manifest(dump_manifest(manifest), "x.zip") == manifest
    assert manifest.counts == {
        "traces": 2,
        "runs": 2,
        "feedback": 0,
        "unplaced": 1,
        "superseded": 0,
        "stored_files": 0,
        "bytes": 552,
    }


def test_the_members_are_the_files_sorted_and_the_manifest_last(day_zip: Path) -> None:
    with zipfile.ZipFile(day_zip) as archive:
        assert archive.namelist() == [FIRST, SECOND, "unplaced.jsonl", "manifest.json"]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}
        assert archive.testzip() is None


def test_equal_content_gives_equal_bytes(tmp_path: Path, folder: Path, day_zip: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (copy / "_fetch.json").write_bytes(b'{"other": true}')
    for path in copy.iterdir():
        path.chmod(0o644)
    info = write_zip(copy, describe_folder(copy, DAY), tmp_path / "copy.zip")
    assert info.path.read_bytes() == day_zip.read_bytes()
    assert (info.size, info.md5, info.sha256) == (
        day_zip.stat().st_size,
        hashlib.md5(day_zip.read_bytes()).hexdigest(),
        hashlib.sha256(day_zip.read_bytes()).hexdigest(),
    )
    assert info == describe_zip(info.path)


def test_without_isal_zlib_packs_the_same_content(tmp_path: Path, folder: Path, day_zip: Path) -> None:
    program = (
        "import sys; sys.modules['isal'] = None\n"
        "from datetime import date\n"
        "from pathlib import Path\n"
        "from lse.archive.zip import packed_zip\n"
        "from lse.models import ProjectDay\n"
        "folder, path = map(Path, sys.argv[1:])\n"
        "with packed_zip(folder, ProjectDay('chat', date(2025, 9, 13)), path): pass\n"
    )
    path = tmp_path / "by-zlib.zip"
    subprocess.run([sys.executable, "-c", program, folder, path], check=True, timeout=60)
    with open_zip(path) as by_zlib, open_zip(day_zip) as by_isal:
        by_zlib.check()
        assert by_zlib.manifest == by_isal.manifest


def test_where_isal_cannot_be_imported_zlib_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    spec = importlib.util.find_spec("lse.archive.zip.deflate")
    assert spec is not None
    assert spec.loader is not None
    deflate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(deflate)
    assert (deflate.codec, deflate.LEVEL) == (zlib, 6)


def test_unzip_reads_what_was_packed(day_zip: Path) -> None:
    if (unzip := shutil.which("unzip")) is None:
        pytest.skip("unzip is not installed")
    assert subprocess.run([unzip, "-tq", day_zip], timeout=60, stdout=subprocess.DEVNULL).returncode == 0


def test_a_zip_keeps_its_earlier_content_when_what_follows_packing_fails(folder: Path, day_zip: Path) -> None:
    before = day_zip.read_bytes()
    (folder / FIRST).unlink()
    with pytest.raises(ZeroDivisionError), packed_zip(folder, DAY, day_zip) as (manifest, _):
        manifest.counts["runs"] / 0
    assert day_zip.read_bytes() == before
    assert list(day_zip.parent.iterdir()) == [day_zip]


def test_a_day_that_changes_while_it_is_packed_is_refused(folder: Path, day_zip: Path) -> None:
    before, manifest = day_zip.read_bytes(), describe_folder(folder, DAY)
    (folder / "unplaced.jsonl").write_bytes(b'{"id":1}\n')
    with pytest.raises(DamagedArchive, match="changed while it was packed"):
        write_zip(folder, manifest, day_zip)
    assert day_zip.read_bytes() == before


def test_what_a_killed_process_left_of_a_zip_is_removed(folder: Path, day_zip: Path) -> None:
    half = day_zip.with_name(f".{day_zip.name}.1a2b3c4d.tmp")
    half.write_bytes(b"half")
    write_zip(folder, describe_folder(folder, DAY), day_zip)
    assert list(day_zip.parent.iterdir()) == [day_zip]


def test_a_payload_of_one_repeated_letter_is_read_back(tmp_path: Path, folder: Path) -> None:
    """DEFLATE makes 1 byte of about 1,000 there; a reader that takes it for a bomb loses the day."""
    content = b"a" * 30_000_000
    (folder / f"{hashlib.sha256(content).hexdigest()}.bin").write_bytes(content)
    info = write_zip(folder, describe_folder(folder, DAY), tmp_path / "day.zip")
    assert info.size < 200_000
    assert restore_zip(info.path, tmp_path / "again", DAY, force=False)[0] == describe_folder(folder, DAY)


def test_more_members_than_a_plain_zip_can_count(tmp_path: Path) -> None:
    members = [Member(f"{number:06}", 0, 2, 0, 38 * number) for number in range(70_000)]
    path = tmp_path / "many.zip"
    with path.open("wb") as file:
        for member in members:
            file.write(local_header(member) + b"\x03\x00")
        file.write(directory(members, file.tell()))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [member.name for member in members]
        assert archive.read("069999") == b""


def test_a_member_beyond_4_gib(tmp_path: Path) -> None:
    """Its data is a hole in the file; what is read is where it begins and how long it says it is."""
    path, size = tmp_path / "large.zip", 5 * 2**30
    large = Member("large", size, size, 0, 0)
    behind = Member("behind", 0, 2, 0, len(local_header(large)) + size)
    with path.open("wb") as file:
        file.write(local_header(large))
        file.seek(behind.offset)
        file.write(local_header(behind) + b"\x03\x00" + directory([large, behind], behind.offset + 38))
    with zipfile.ZipFile(path) as archive:
        found = [(info.filename, info.file_size, info.compress_size) for info in archive.infolist()]
        assert found == [("large", size, size), ("behind", 0, 2)]
        assert archive.read("behind") == b""


def test_the_content_hash_follows_the_content_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    same = write_day(tmp_path / "same")
    other = write_day(tmp_path / "other", name="x")
    renamed = write_day(tmp_path / "renamed")
    (renamed / FIRST).rename(renamed / f"101113_{T1}.json")
    hashes = [describe_folder(each, DAY).content_sha256 for each in (folder, same, other, renamed)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_a_trace_file_holds_the_same_in_folder_and_zip(folder: Path, day_zip: Path) -> None:
    with open_zip(day_zip) as archive:
        (zipped,) = (holding_of(FIRST, archive.blocks(e)) for e in archive.manifest.files if e.path == FIRST)
    assert holding_of(FIRST, blocks_of(folder / FIRST)) == zipped
    assert list(read_entries(zipped.runs)) == [(T1, content_hash(run_text(T1, 10)))]


def test_of_a_large_day_many_batches_and_blocks_are_under_way(
    folder: Path, day_zip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is a task of its own, two wait at most, and what is packed is written several times."""
    monkeypatch.setattr(writing, "_BATCH", 1)
    monkeypatch.setattr(writing, "_THREADS", 1)
    noise = random.Random(1).randbytes(3 * 2**20)
    for start in range(0, len(noise), 2**19):
        content = noise[start : start + 2**19]
        (folder / f"{hashlib.sha256(content).hexdigest()}.bin").write_bytes(content)
    manifest = describe_folder(folder, DAY)

    write_zip(folder, manifest, day_zip)

    with open_zip(day_zip) as archive:
        assert archive.manifest == manifest
    with zipfile.ZipFile(day_zip) as archive:
        read = {name: archive.read(name) for name in archive.namelist()[:-1]}
    assert read == {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "_fetch.json"}


# --- what is refused


def test_more_files_than_an_archive_may_hold_are_neither_packed_nor_restored(
    folder: Path, day_zip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_FILES", 2)
    before = day_zip.read_bytes()
    with pytest.raises(UsageError, match=r"2025-09-13 cannot be packed: it has more than 2 files\."):
        write_zip(folder, describe_folder(folder, DAY), day_zip)
    assert day_zip.read_bytes() == before
    with pytest.raises(DamagedArchive, match="it has more than 2 files"):
        restore_zip(day_zip, folder, DAY, force=True)


def test_a_content_file_whose_content_is_not_what_its_name_says_is_not_packed(
    folder: Path, day_zip: Path
) -> None:
    name = f"{'0' * 64}.bin"
    (folder / name).write_bytes(b"other")
    with pytest.raises(DamagedArchive, match=f"{name} is damaged: its content is not what its name says"):
        describe_folder(folder, DAY)


def rebuilt(day_zip: Path, change: Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]) -> Path:
    """The zip written anew by the standard library, after `change` had its way with the members."""
    with zipfile.ZipFile(day_zip) as archive:
        parts = [(info, archive.read(info)) for info in archive.infolist()]
    change(parts)
    with warnings.catch_warnings(), zipfile.ZipFile(day_zip, "w") as archive:
        warnings.simplefilter("ignore")
        for info, content in parts:
            fresh = zipfile.ZipInfo(info.filename, info.date_time)
            fresh.compress_type, fresh.external_attr = info.compress_type, info.external_attr
            archive.writestr(fresh, content)
    return day_zip


def with_manifest(**changes: Any) -> Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]:
    def change(parts: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        info, content = parts.pop()
        parts.append((info, json.dumps(json.loads(content) | changes).encode()))

    return change


def raw_manifest(content: bytes) -> Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]:
    def change(parts: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        parts[-1] = (parts[-1][0], content)

    return change


def renamed_to(name: str) -> Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]:
    """The first member under another name, also in the manifest, whose hash is right again."""

    def change(parts: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        document = json.loads(parts[-1][1])
        document["files"][0]["path"] = name
        lines = "".join(f"{entry['path']}\0{entry['sha256']}\n" for entry in document["files"])
        document["content_sha256"] = hashlib.sha256(lines.encode()).hexdigest()
        info, content = parts[0]
        info.filename = name
        parts[0], parts[-1] = (info, content), (parts[-1][0], json.dumps(document).encode())

    return change


def as_mode(mode: int) -> Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]:
    def change(parts: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        parts[0][0].external_attr = mode << 16

    return change


def compressed_by(method: int) -> Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]:
    def change(parts: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        parts[0][0].compress_type = method

    return change


def other_content(parts: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
    parts[1] = (parts[1][0], parts[1][1].replace(b"success", b"failure"))


ENTRY = {"path": FIRST, "size": 1, "sha256": "x", "runs": 1, "feedback": 0}
HOSTILE: dict[str, Callable[[list[tuple[zipfile.ZipInfo, bytes]]], Any]] = {
    "path up": renamed_to(f"../{FIRST}"),
    "absolute path": renamed_to(f"/tmp/{FIRST}"),
    "folder": renamed_to(f"a/{FIRST}"),
    "backslash": renamed_to(f"a\\{FIRST}"),
    "drive letter": renamed_to(f"C:{FIRST}"),
    "foreign name": renamed_to("run.sh"),
    "fetch record": renamed_to("_fetch.json"),
    "upper case": renamed_to(FIRST.upper()),
    "empty name": renamed_to(""),
    "twice": lambda parts: parts.insert(0, parts[0]),
    "one too many": lambda parts: parts.insert(0, (zipfile.ZipInfo(f"000000_{UUID(int=3)}.json"), b"x")),
    "one too few": lambda parts: parts.pop(0),
    "no manifest": lambda parts: parts.pop(),
    "manifest not last": lambda parts: parts.insert(0, parts.pop()),
    "symbolic link": as_mode(0o120777),
    "directory": as_mode(0o040755),
    "device": as_mode(0o060644),
    "bzip2": compressed_by(zipfile.ZIP_BZIP2),
    "lzma": compressed_by(zipfile.ZIP_LZMA),
    "other content": other_content,
    "other format": with_manifest(format="lse-archive/2"),
    "no format": with_manifest(format=None),
    "other content hash": with_manifest(content_sha256="0" * 64),
    "other day": with_manifest(date="2025-09-14"),
    "other project": with_manifest(project="other"),
    "odd date": with_manifest(date="yesterday"),
    "date of no kind": with_manifest(date=5),
    "files of no kind": with_manifest(files=5),
    "entry of no kind": with_manifest(files=[5]),
    "entry without size": with_manifest(files=[{"path": FIRST}]),
    "size as text": with_manifest(files=[ENTRY | {"size": "1"}]),
    "count as text": with_manifest(files=[ENTRY | {"runs": "1"}]),
    "path of no kind": with_manifest(files=[ENTRY | {"path": 1}]),
    "path that is no text": with_manifest(files=[ENTRY | {"path": "\ud800"}]),
    "manifest is a list": raw_manifest(b"[]"),
    "manifest is null": raw_manifest(b"null"),
    "manifest is empty": raw_manifest(b""),
    "manifest without members": raw_manifest(b"{}"),
    "manifest is no text": raw_manifest(b"\xff\xfe\xfd"),
    "manifest is deep": raw_manifest(b"[" * 200_000 + b"]" * 200_000),
}


def refused(path: Path, folder: Path) -> None:
    """`path` cannot be restored, and the attempt leaves no trace."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(DamagedArchive):
        restore_zip(path, folder, DAY, force=True)
    assert sorted(folder.parent.rglob("*")) == before
    assert sorted(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_zip_is_refused_before_anything_is_written(kind: str, folder: Path, day_zip: Path) -> None:
    path, before = rebuilt(day_zip, HOSTILE[kind]), contents(folder)
    shutil.rmtree(folder)
    refused(path, folder)
    write_day(folder, name="other")
    kept = contents(folder)
    refused(path, folder)
    assert contents(folder) == kept != before


def central(content: bytes) -> int:
    """The offset of the first entry of the central directory."""
    return content.index(b"PK\x01\x02")


def test_a_bomb_is_refused_by_what_its_headers_say(folder: Path, day_zip: Path) -> None:
    content = bytearray(day_zip.read_bytes())
    struct.pack_into("<I", content, central(content) + 24, 2**31)
    day_zip.write_bytes(content)
    refused(day_zip, folder)


def test_a_bomb_that_understates_its_size_is_not_unpacked(folder: Path, day_zip: Path) -> None:
    bomb = rebuilt(day_zip, lambda parts: parts.__setitem__(0, (parts[0][0], b" " * 20_000_000)))
    shutil.rmtree(folder)
    refused(bomb, folder)


def test_overlapping_members_are_refused(folder: Path, day_zip: Path) -> None:
    content = bytearray(day_zip.read_bytes())
    second = content.index(b"PK\x01\x02", central(content) + 4)
    struct.pack_into("<I", content, second + 42, 0)
    day_zip.write_bytes(content)
    refused(day_zip, folder)


@pytest.mark.parametrize(("before", "behind"), [(b"x", b""), (b"", b"x")], ids=["before", "behind"])
def test_a_zip_with_foreign_bytes_around_it_is_refused(
    before: bytes, behind: bytes, folder: Path, day_zip: Path
) -> None:
    day_zip.write_bytes(before + day_zip.read_bytes() + behind)
    refused(day_zip, folder)


def test_an_encrypted_member_is_refused(folder: Path, day_zip: Path) -> None:
    content = bytearray(day_zip.read_bytes())
    content[6] |= 1
    content[central(content) + 8] |= 1
    day_zip.write_bytes(content)
    refused(day_zip, folder)


def test_a_name_that_is_no_text_is_refused(folder: Path, day_zip: Path) -> None:
    content = bytearray(day_zip.read_bytes())
    at = central(content)
    content[at + 9] |= 0x08
    content[at + 46] = 0xFF
    day_zip.write_bytes(content)
    refused(day_zip, folder)


def test_a_zip_that_ends_early_is_refused(folder: Path, day_zip: Path) -> None:
    content = day_zip.read_bytes()
    for length in (0, 1, 22, len(content) // 2, len(content) - 1):
        day_zip.write_bytes(content[:length])
        refused(day_zip, folder)


def test_a_changed_byte_anywhere_is_refused_or_changes_nothing(
    tmp_path: Path, folder: Path, day_zip: Path
) -> None:
    """Some bytes of a zip mean nothing to us, such as the times of members; whatever is restored is right."""
    content, right = day_zip.read_bytes(), contents(folder)
    right.pop("_fetch.json")
    refusals = 0
    for offset in range(0, len(content)):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << offset % 8
        day_zip.write_bytes(damaged)
        with suppress(DamagedArchive), open_zip(day_zip) as archive:
            read = {entry.path: archive.read(entry) for entry in archive.manifest.files}
            assert read == right
            continue
        refusals += 1
    assert refusals > len(content) * 0.6


def test_damage_is_named_without_quoting_content(folder: Path, day_zip: Path) -> None:
    with open_zip(rebuilt(day_zip, other_content)) as archive, pytest.raises(DamagedArchive) as in_zip:
        archive.check()
    assert in_zip.value.message == f"{SECOND} in 2025-09-13.zip differs from its manifest."
    (folder / FIRST).write_bytes((folder / FIRST).read_bytes()[:-2])
    with pytest.raises(DamagedArchive) as in_folder:
        holding_of(FIRST, blocks_of(folder / FIRST))
    assert in_folder.value.message == f"{FIRST} is damaged: it ends too early."


def test_one_file_is_read_without_the_others(day_zip: Path) -> None:
    class Watched(io.BytesIO):
        asked = 0

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            self.asked += len(content)
            return content

    payload = day_zip.read_bytes()
    file = Watched(payload)
    with open_zip(file, "far away") as archive:
        at_first = file.asked
        entry = archive.manifest.files[-1]
        assert list(archive.lines(entry)) == [b'{"id":null}\n']
        assert file.asked - at_first < 200


def test_a_manifest_larger_than_its_files_explain_is_not_read(folder: Path, day_zip: Path) -> None:
    refused(rebuilt(day_zip, raw_manifest(b" " * 100_000)), folder.with_name("2025-09-14"))
    with pytest.raises(DamagedArchive, match="manifest is larger"), open_zip(day_zip):
        pass


def test_a_disk_without_room_is_noticed_before_anything_is_written(
    tmp_path: Path, day_zip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=551))
    with pytest.raises(TemporaryError, match="has room for 551 bytes, and the archive's files have 552"):
        restore_zip(day_zip, tmp_path / "new" / "2025-09-13", DAY, force=False)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ([1] * 1_000_001, "it has more than 1,000,000 files"),
        ([65 * 2**30], "a file is larger than 64 GiB"),
        ([60 * 2**30] * 18, "its files are larger than 1 TiB"),
        ([64 * 2**30] * 16, None),
    ],
)
def test_no_archive_is_larger_than_any_real_day(sizes: list[int], reason: str | None) -> None:
    assert excess(sizes) == reason


# --- what is restored


def test_restoring_into_nothing_gives_the_same_bytes(tmp_path: Path, folder: Path, day_zip: Path) -> None:
    manifest, kept = restore_zip(day_zip, tmp_path / "new" / "2025-09-13", DAY, force=False)
    right = contents(folder)
    right.pop("_fetch.json")
    assert contents(tmp_path / "new" / "2025-09-13") == right
    assert sorted((tmp_path / "new").iterdir()) == [tmp_path / "new" / "2025-09-13"]
    assert (manifest.day, manifest.counts["runs"], kept) == (DAY, 2, None)


def test_the_same_content_is_left_alone(folder: Path, day_zip: Path) -> None:
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    restore_zip(day_zip, folder, DAY, force=True)
    assert {path: path.stat().st_ino for path in folder.iterdir()} == before


def test_other_content_is_refused_without_force(folder: Path, day_zip: Path) -> None:
    (folder / FIRST).unlink()
    before = contents(folder)
    with pytest.raises(UsageError, match="holds other trace files than the archive") as caught:
        restore_zip(day_zip, folder, DAY, force=False)
    assert "--force" in caught.value.hint
    assert contents(folder) == before


def test_with_force_what_was_there_is_kept_beside_it(folder: Path, day_zip: Path) -> None:
    right = contents(folder)
    right.pop("_fetch.json")
    for number in (1, 2):
        (folder / FIRST).write_bytes(b"mine %d" % number)
        _, kept = restore_zip(day_zip, folder, DAY, force=True)
        assert kept == folder.with_name(f"2025-09-13.replaced-{number}")
        assert (kept / FIRST).read_bytes() == b"mine %d" % number
        assert contents(folder) == right


def test_the_record_of_a_fetch_stays_and_files_of_others_are_kept(folder: Path, day_zip: Path) -> None:
    for path in folder.iterdir():
        if path.name != "_fetch.json":
            path.unlink()
    _, kept = restore_zip(day_zip, folder, DAY, force=False)
    assert (kept, (folder / "_fetch.json").read_bytes()) == (None, b"{}")
    for path in folder.iterdir():
        path.unlink()
    (folder / "notes.txt").write_text("mine")
    _, kept = restore_zip(day_zip, folder, DAY, force=False)
    assert kept is not None
    assert contents(kept) == {"notes.txt": b"mine"}


def record_of(content_sha256: str) -> FetchRecord:
    """What a complete fetch of files with this content hash notes."""
    return fetch_record(content_sha256=content_sha256, runs=2, traces=2, server_runs=2, server_traces=2)


def test_a_record_that_tells_of_what_comes_back_goes_with_it_and_any_other_does_not(
    folder: Path, day_zip: Path
) -> None:
    with open_zip(day_zip) as archive:
        archived = archive.manifest.content_sha256
    for content_sha256, told in ((archived, [True, True]), ("0" * 64, [False, False])):
        stays = []
        for alone in (False, True):
            for path in folder.iterdir():
                path.unlink()
            write_fetch_record(folder, record_of(content_sha256))
            (folder / "_log.jsonl").write_bytes(b"{}\n")
            if not alone:
                (folder / FIRST).write_bytes(b"other")
            restore_zip(day_zip, folder, DAY, force=True)
            stays.append((folder / "_fetch.json").exists())
            assert (folder / "_log.jsonl").read_bytes() == b"{}\n"
        assert stays == told


def test_what_a_killed_restore_left_is_cleared_away(folder: Path, day_zip: Path) -> None:
    right = contents(folder)
    right.pop("_fetch.json")
    shutil.rmtree(folder)
    aside = folder.with_name(".2025-09-13.restoring")
    aside.mkdir()
    (aside / "half").write_bytes(b"x")
    restore_zip(day_zip, folder, DAY, force=False)
    assert contents(folder) == right
    assert not aside.exists()


def test_writing_an_empty_day_is_a_zip_with_only_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "empty.zip"
    write_zip(tmp_path, Manifest(DAY, ()), path)
    with open_zip(path) as archive:
        assert archive.manifest == Manifest(DAY, ())
