"""DEFLATE by isal, ten times as fast as zlib; by zlib where isal cannot be imported.

The level is the one that makes the smallest files in reasonable time: isal's highest gives 0.135 of a day of
the sample application, zlib's default 0.118 in twice the time or more (measured).
"""

try:
    from isal import isal_zlib as codec

    LEVEL = 3
except ImportError:  # there is no wheel for this machine
    import zlib as codec  # type: ignore[no-redef]

    LEVEL = 6

from collections.abc import Iterable, Iterator
from typing import IO

from lse.archive.files import BLOCK

__all__ = ["LEVEL", "Deflated", "codec", "codec_error", "inflated"]

codec_error: type[Exception] = codec.error  # type: ignore[assignment]  # the stub of isal says an instance
"""Raised for data that cannot be inflated."""


class Deflated:
    """Bytes that went by, deflated into `data`."""

    def __init__(self, data: IO[bytes]) -> None:
        self.data = data
        self.size = 0
        """How many bytes went by"""
        self.crc32 = 0

    def passing(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks, each deflated when it is asked for; `data` is whole after the last."""
        deflater = codec.compressobj(LEVEL, codec.DEFLATED, -codec.MAX_WBITS)
        for block in blocks:
            self.size += len(block)
            self.crc32 = codec.crc32(block, self.crc32)
            self.data.write(deflater.compress(block))
            yield block
        self.data.write(deflater.flush())


def inflated(pieces: Iterable[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """The content of deflated data that comes in pieces, in blocks of at most `size` bytes but for the last.

    Raises `codec_error` for data that is none, `EOFError` when it ends too early or goes on behind its end.
    """
    inflater = codec.decompressobj(-codec.MAX_WBITS)
    behind = b""
    for piece in pieces:
        left = piece
        while left and not inflater.eof:
            yield inflater.decompress(left, size)
            left = inflater.unconsumed_tail
        behind = left or behind
    if rest := inflater.flush():
        yield rest
    if not inflater.eof or inflater.unused_data or behind:
        raise EOFError
