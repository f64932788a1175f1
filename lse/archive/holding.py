"""What a file of an archive holds, read once: its hash, and each run and feedback record by id and hash."""

import hashlib
from collections.abc import Iterable
from uuid import UUID

from lse.archive.files import lines_of
from lse.archive.identity import Unplaced, id_within, identify_feedback
from lse.archive.manifest import Hashed
from lse.archive.trace_file import DamagedArchive, load_file, open_sections
from lse.models import Holding, content_hash, pack_entries


def holding_of(name: str, blocks: Iterable[bytes]) -> Holding:
    """What the trace file `name` holds. Raises `DamagedArchive` when it is not as written.

    It is read once, run by run; what is kept of a run are 32 bytes.
    """
    hashed = Hashed(blocks)
    trace_id, sections = open_sections(lines_of(hashed), name)
    try:
        runs = pack_entries([_run_entry(text, trace_id, name) for text in next(sections)])
        feedback = pack_entries(map(_feedback_entry, next(sections)))
        files = {file.sha256: file.run_id for file in map(load_file, next(sections))}
    except Unplaced as error:
        raise DamagedArchive(f"{name} is damaged: {error}.") from error
    next(sections, None)  # nothing may follow
    return Holding(runs, feedback, hashed.sha256, files)


def text_hashes(blocks: Iterable[bytes]) -> set[UUID]:
    """The content hashes of the texts in a file that has one per line."""
    return {content_hash(line.rstrip(b"\n")) for line in lines_of(blocks)}


def sha256_of(blocks: Iterable[bytes]) -> str:
    """The SHA-256 of a content that comes in blocks, in hexadecimal."""
    hashed = Hashed(blocks)
    for _ in hashed:
        pass
    return hashed.sha256


def _run_entry(text: bytes, trace_id: str, name: str) -> bytes:
    run_id = id_within(trace_id, text)
    if run_id is None:
        raise DamagedArchive(f"{name} is damaged: it holds another trace than it says.")
    return run_id + hashlib.sha256(text).digest()[:16]


def _feedback_entry(text: bytes) -> bytes:
    feedback = identify_feedback(text)
    return feedback.id.bytes + hashlib.sha256(text).digest()[:16]
