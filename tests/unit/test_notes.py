"""The notes beside an archive prove themselves."""

import json
from pathlib import Path

from fetch_records import fetch_record

from lse.archive.fetch_record import read_fetch_record, restored_record, write_fetch_record
from lse.archive.versions import LogEntry, add_to_log, check_log, drop_damaged_lines, read_log

RECORD = fetch_record(
    runs=19,
    traces=5,
    feedback=3,
    stored_files=1,
    server_runs=19,
    content_sha256="ab" * 32,
    log_lines=2,
)
ENTRIES = [LogEntry(f"2025-09-2{n}T00:00:00+00:00", 6, 1, n, 1, f"{n:064}") for n in range(3)]


def test_any_bit_of_the_record_is_found(tmp_path: Path) -> None:
    write_fetch_record(tmp_path, RECORD)
    assert read_fetch_record(tmp_path) == RECORD
    path = tmp_path / "_fetch.json"
    whole = path.read_bytes()
    for bit in range(8 * (len(whole) - 1)):  # the last byte is the line break at the end
        path.write_bytes(_flipped(whole, bit))
        assert read_fetch_record(tmp_path) is None


def test_any_bit_of_the_log_is_found_and_the_other_lines_stay(tmp_path: Path) -> None:
    assert [add_to_log(tmp_path, entry) for entry in ENTRIES] == [1, 2, 3]
    path = tmp_path / "_log.jsonl"
    whole = path.read_bytes()
    begin, end = 8 * (whole.index(b"\n") + 1), 8 * whole.rindex(b"\n", 0, -1)
    for bit in range(begin, end):
        path.write_bytes(_flipped(whole, bit))
        lines, damaged = check_log(tmp_path)
        assert damaged == ([2] if lines == 3 else [2, 3])  # a bit can make a line break
    assert drop_damaged_lines(tmp_path) == 2
    assert (check_log(tmp_path), read_log(tmp_path)) == ((2, []), [ENTRIES[0], ENTRIES[2]])


def test_notes_without_a_hash_are_read_as_they_are(tmp_path: Path) -> None:
    for name in ("_fetch.json", "_log.jsonl"):
        write_fetch_record(tmp_path, RECORD)
        add_to_log(tmp_path, ENTRIES[0])
        document = json.loads((tmp_path / name).read_bytes())
        del document["check"]
        (tmp_path / name).write_text(json.dumps(document))
    assert (read_fetch_record(tmp_path), read_log(tmp_path)) == (RECORD, ENTRIES[:1])


def test_a_record_comes_back_only_when_its_hash_proves_it(tmp_path: Path) -> None:
    write_fetch_record(tmp_path, RECORD)
    path = tmp_path / "_fetch.json"
    path.write_bytes(path.read_bytes().replace(b'"runs": 19', b'"runs": 18'))
    assert restored_record(tmp_path, runs=19, walks=1) == RECORD
    assert restored_record(tmp_path, runs=20) is None
    path.write_bytes(path.read_bytes()[:-5])
    assert restored_record(tmp_path, runs=19) is None


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
