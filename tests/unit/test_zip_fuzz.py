"""Zips made up or spoiled at random: each is refused as damaged, or gives exactly what was packed."""

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lse.archive.identity import identify_run
from lse.archive.manifest import FileEntry, Manifest, describe_folder, dump_manifest
from lse.archive.restore import restore_zip
from lse.archive.trace_file import DamagedArchive, make_trace, write_trace
from lse.archive.zip import open_zip, write_zip
from lse.models import ProjectDay

DAY = ProjectDay("chat", date(2025, 9, 13))
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
ZIP64_END, ZIP64_LOCATOR = b"PK\x06\x06", b"PK\x06\x07"
RECORDS = {LOCAL: 30, CENTRAL: 46, END: 22}
"""The fixed parts of a zip, by signature."""

numbers = st.sampled_from([0, 1, 8, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]) | st.integers(0, 2**32 - 1)
wide_numbers = st.sampled_from([0, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)


def pack(contents: dict[str, bytes]) -> bytes:
    """The zip of a folder with these files."""
    with TemporaryDirectory() as scratch:
        folder, path = Path(scratch, "day"), Path(scratch, "day.zip")
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        write_zip(folder, describe_folder(folder, DAY), path)
        return path.read_bytes()


def sample() -> dict[str, bytes]:
    """A day of two traces and two other files."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number in (1, 2):
            trace = str(UUID(int=number))
            text = b'{"id":"%s","trace_id":"%s","name":"%s"}' % (*[trace.encode()] * 2, b"x" * 900 * number)
            write_trace(folder, make_trace(UUID(trace), [identify_run(text)]))
        payload = bytes(range(256)) * 8
        (folder / f"{hashlib.sha256(payload).hexdigest()}.bin").write_bytes(payload)
        (folder / "unplaced.jsonl").write_bytes(b'{"id":null}\n')
        return {path.name: path.read_bytes() for path in folder.iterdir()}


CONTENTS = sample()
ZIP = pack(CONTENTS)


def read(content: bytes) -> dict[str, bytes]:
    """What is read from a file on disk, which refuses other offsets than a file in memory does."""
    with TemporaryFile() as file:
        file.write(content)
        with open_zip(file) as archive:
            return {entry.path: archive.read(entry) for entry in archive.manifest.files}


def assert_refused_or_right(content: bytes) -> None:
    with suppress(DamagedArchive):
        assert read(content) == CONTENTS


def records(content: bytes) -> Iterator[tuple[int, int]]:
    """Offset and length of each record."""
    for signature, length in RECORDS.items():
        offset = content.find(signature)
        while offset >= 0:
            yield offset, length
            offset = content.find(signature, offset + 1)


# --- what is spoiled


@given(st.binary(max_size=400), st.sampled_from([b"", LOCAL, END, ZIP[:200]]))
def test_bytes_that_are_no_zip_are_refused(noise: bytes, begin: bytes) -> None:
    with pytest.raises(DamagedArchive):
        read(begin + noise)


@settings(max_examples=300)
@given(st.data())
def test_bytes_replaced_removed_or_put_in(data: st.DataObject) -> None:
    content = bytearray(ZIP)
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(content)))
        end = min(begin + data.draw(st.integers(0, 60)), len(content))
        content[begin:end] = data.draw(st.binary(max_size=60))
    assert_refused_or_right(bytes(content))


@settings(max_examples=400)
@given(st.data())
def test_numbers_in_the_records_that_lie(data: st.DataObject) -> None:
    content = bytearray(ZIP)
    for _ in range(data.draw(st.integers(1, 3))):
        offset, length = data.draw(st.sampled_from(list(records(ZIP))))
        form = data.draw(st.sampled_from(["<H", "<I"]))
        at = offset + data.draw(st.integers(4, length - struct.calcsize(form)))
        struct.pack_into(form, content, at, data.draw(numbers) & (0xFFFF if form == "<H" else 0xFFFFFFFF))
    assert_refused_or_right(bytes(content))


@settings(max_examples=300)
@given(*[wide_numbers] * 5, st.booleans())
def test_zip64_numbers_that_lie(
    here: int, count: int, size: int, offset: int, record_at: int, at_end: bool
) -> None:
    """Where the plain record says so, a reader looks for counts and offsets in one with 64 bits."""
    end = bytearray(ZIP[ZIP.rindex(END) :])
    struct.pack_into("<2H2I", end, 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    before = ZIP[: ZIP.rindex(END)]
    record = struct.pack("<4sQ2H2I4Q", ZIP64_END, 44, 45, 45, 0, 0, here, count, size, offset)
    where = len(before) if at_end else record_at
    assert_refused_or_right(before + record + struct.pack("<4sIQI", ZIP64_LOCATOR, 0, where, 1) + bytes(end))


@settings(max_examples=200)
@given(st.data())
def test_sizes_and_offsets_in_an_extra_field_that_lie(data: st.DataObject) -> None:
    """The sizes and the offset of a member may stand in an extra field with 64 bits."""
    at, end = ZIP.index(CENTRAL), ZIP.rindex(END)
    entry, last = bytearray(ZIP[at:end]), bytearray(ZIP[end:])
    name_length = struct.unpack_from("<H", entry, 28)[0]
    fields = data.draw(
        st.lists(st.sampled_from([24, 20, 42]), min_size=1, unique=True)
    )  # size, packed, offset
    for field in fields:
        struct.pack_into("<I", entry, field, 0xFFFFFFFF)
    values = [data.draw(wide_numbers) for _ in fields]
    extra = struct.pack(f"<2H{len(values)}Q", 1, data.draw(st.integers(0, 40)), *values)
    struct.pack_into("<H", entry, 30, len(extra))
    entry[46 + name_length : 46 + name_length] = extra
    struct.pack_into("<I", last, 12, len(entry))
    assert_refused_or_right(ZIP[:at] + bytes(entry) + bytes(last))


# --- what is made up

names = st.sampled_from(
    [
        "../unplaced.jsonl",
        "/etc/passwd",
        "C:\\unplaced.jsonl",
        "UNPLACED.JSONL",
        "unplaced.jsonl\0.sh",
        "unplaced.jsonl",
        "superseded.jsonl",
        f"000000_{UUID(int=1)}.json",
        f"000000_{UUID(int=1)}.json/",
        "manifest.json",
        "nul",
        "",
    ]
) | st.text(max_size=12)
members = st.tuples(
    names,
    st.binary(max_size=30),
    st.sampled_from([0o100644, 0o120777, 0o040755, 0o010644, 0]),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]),
)


@settings(max_examples=150)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(st.lists(members, max_size=3))
def test_nothing_leaves_the_folder_whatever_the_members_are_called(
    made_up: list[tuple[str, bytes, int, int]],
) -> None:
    entries = tuple(
        FileEntry(name, len(content), hashlib.sha256(content).hexdigest(), content.count(b"\n"), 0)
        for name, content, _, _ in made_up
    )
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        path, folder = root / "made-up.zip", root / "data" / "chat" / "2025-09-13"
        try:
            with zipfile.ZipFile(path, "w") as archive:
                for name, content, mode, method in made_up:
                    info = zipfile.ZipInfo(name)
                    info.compress_type, info.external_attr = method, mode << 16
                    archive.writestr(info, content)
                archive.writestr("manifest.json", dump_manifest(Manifest(DAY, entries)))
        except (UnicodeEncodeError, UserWarning):
            return  # a name that the writer refuses
        with suppress(DamagedArchive):
            restore_zip(path, folder, DAY, force=True)
        there = {each for each in root.rglob("*") if each.is_file() or each.is_symlink()}
        expected = {folder / name for name, _, _, _ in made_up} if folder.exists() else set()
        assert there == {path} | expected


# --- what is packed

lines = st.lists(st.binary(max_size=200).map(lambda line: line.replace(b"\n", b" ") + b"\n"), max_size=20)
loose = st.one_of(lines.map(b"".join), st.integers(0, 3_000_000).map(lambda size: b"x" * size))


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["unplaced.jsonl", "superseded.jsonl"]), loose), st.binary())
def test_what_was_packed_is_read_back_by_everybody(texts: dict[str, bytes], payload: bytes) -> None:
    contents = {**texts, f"{hashlib.sha256(payload).hexdigest()}.bin": payload}
    packed = pack(contents)
    assert read(packed) == contents
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == [*sorted(contents), "manifest.json"]
        assert {name: archive.read(name) for name in contents} == contents
