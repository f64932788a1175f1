"""The records of a zip file, as PKWARE's APPNOTE lays them out (sections 4.3 and 4.5.3).

The standard library's writer takes no members that other threads have deflated already; this one takes
nothing else. Times, attributes and the system of origin are constants, so equal members give equal bytes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

LOCAL_HEADER = 30
"""How many bytes of a local header stand before the name."""

_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01, the earliest time a zip can hold
_UNIX, _MODE = 3, 0o100644
_DEFLATED = 8
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # in place of a number that stands in a zip64 field
_PLAIN, _ZIP64 = 20, 45  # the version of the format that a reader must know


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip, deflated."""

    name: str
    """In ASCII"""
    size: int
    packed_size: int
    crc32: int
    offset: int
    """Where its local header begins"""


def local_header(member: Member) -> bytes:
    """What stands before the member's data."""
    large = [member.size, member.packed_size] if max(member.size, member.packed_size) >= _FULL32 else []
    sizes = (_FULL32, _FULL32) if large else (member.packed_size, member.size)
    name, extra = member.name.encode("ascii"), _zip64_extra(large)
    lengths = (len(name), len(extra))
    fields = (_version(large), 0, _DEFLATED, _TIME, _DATE, member.crc32, *sizes, *lengths)
    return struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + name + extra


def local_header_length(begin: bytes, name: bytes) -> int | None:
    """How long the local header is that begins so; None when it is none, or that of another member."""
    begun = LOCAL_HEADER + len(name)
    if len(begin) < begun or not begin.startswith(b"PK\3\4") or begin[LOCAL_HEADER:begun] != name:
        return None
    name_length, extra_length = struct.unpack_from("<2H", begin, LOCAL_HEADER - 4)
    return begun + extra_length if name_length == len(name) else None


def directory(members: Sequence[Member], offset: int) -> bytes:
    """What stands after the last member, from `offset` to the end of the file."""
    entries = b"".join(map(_directory_entry, members))
    size, count = len(entries), len(members)
    wide = b""
    if count >= _FULL16 or max(size, offset) >= _FULL32:
        version = (_UNIX << 8 | _ZIP64, _ZIP64)
        wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, *version, 0, 0, count, count, size, offset)
        wide += struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)
    counts = (min(count, _FULL16),) * 2
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *counts, min(size, _FULL32), min(offset, _FULL32), 0)
    return entries + wide + end


def _directory_entry(member: Member) -> bytes:
    numbers = (member.size, member.packed_size, member.offset)
    large = [number for number in numbers if number >= _FULL32]
    size, packed_size, offset = [min(number, _FULL32) for number in numbers] if large else numbers
    name, extra = member.name.encode("ascii"), _zip64_extra(large)
    version = (_UNIX << 8 | _version(large), _version(large))
    fields = (0, _DEFLATED, _TIME, _DATE, member.crc32, packed_size, size, len(name), len(extra))
    rest = (0, 0, 0, _MODE << 16, offset)  # no comment, first disk, binary
    return struct.pack("<4s2H4H3L2H3H2L", b"PK\1\2", *version, *fields, *rest) + name + extra


def _version(large: Sequence[int]) -> int:
    return _ZIP64 if large else _PLAIN


def _zip64_extra(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
