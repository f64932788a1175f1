"""A part of an object that is far away, as a file: what is read comes in few requests and is kept."""

import io
import zipfile
from bisect import insort
from collections.abc import Callable
from typing import BinaryIO, cast

TAIL_BYTES = 256 * 1024
"""What is read at first, from the end: holds the manifest and the list of members of about 1,300 traces."""


class RangedFile(io.RawIOBase):
    """An object of `size` bytes, read through `read(start, length)`.

    Wrap it in `io.BufferedReader` before it is given to `zipfile`, which takes a short read for the end.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, tail_bytes: int = TAIL_BYTES) -> None:
        self._read = read
        self._size = size
        self._position = 0
        self._parts: list[tuple[int, bytes]] = []
        """Offset and content of what was read, ascending, without overlaps"""
        self.load(max(0, size - tail_bytes), size)

    def load(self, start: int, end: int) -> None:
        """Read the bytes of `[start, end)` that are not here, in one request per gap."""
        for begin, content in list(self._parts):
            if begin < end and start < begin + len(content):
                self._fetch(start, begin)
                start = begin + len(content)
        self._fetch(start, end)

    def _fetch(self, start: int, end: int) -> None:
        if start < end:
            insort(self._parts, (start, self._read(start, end - start)))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # every buffer is one
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        content = self._here(wanted)
        if not content:
            self.load(self._position, min(self._position + max(wanted, TAIL_BYTES), self._size))
            content = self._here(wanted)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _here(self, wanted: int) -> bytes:
        """What was read already from the position on, at most `wanted` bytes."""
        for begin, content in self._parts:
            if begin <= self._position < begin + len(content):
                offset = self._position - begin
                return content[offset : offset + wanted]
        return b""


def buffered(file: RangedFile) -> BinaryIO:
    """`file` as the file object that a zip is opened from."""
    return cast(BinaryIO, io.BufferedReader(file))


def extents(zip_file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Begin and end of each member of a zip, with its header; read from the list at the zip's end."""
    with zipfile.ZipFile(zip_file) as archive:
        begins = sorted((member.header_offset, member.filename) for member in archive.infolist())
        ends = [begin for begin, _ in begins[1:]] + [archive.start_dir]
    return {name: (begin, end) for (begin, name), end in zip(begins, ends, strict=True)}
