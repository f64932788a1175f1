"""What a file holds, in the terms in which a target answers."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Measure:
    """Size in bytes and md5 in hexadecimal: md5 is the one checksum that Drive gives for every file."""

    size: int
    md5: str


def measure(file: Path) -> Measure:
    """Read `file` once."""
    digest, size = new_md5(), 0
    with file.open("rb") as source:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return Measure(size, digest.hexdigest())


def new_md5(content: bytes = b"") -> "hashlib._Hash":
    """An md5 in progress, also where md5 is barred from security uses."""
    return hashlib.md5(content, usedforsecurity=False)
