"""What an archive may hold: more than any real day does, and no more than a disk does."""

from collections.abc import Collection

MAX_FILES = 1_000_000
MAX_FILE = 64 * 2**30
MAX_TOTAL = 2**40
MAX_RATIO = 1032
"""The most that DEFLATE can reach (zlib's documentation); a header that says more lies.

A lower bound would refuse days of our own: a payload of one repeated letter is deflated 1000 to 1.
"""


def excess(sizes: Collection[int]) -> str | None:
    """Why files of these sizes are too much for an archive; None when they are not."""
    if len(sizes) > MAX_FILES:
        return f"it has more than {MAX_FILES:,} files"
    if max(sizes, default=0) > MAX_FILE:
        return f"a file is larger than {MAX_FILE // 2**30} GiB"
    if sum(sizes) > MAX_TOTAL:
        return f"its files are larger than {MAX_TOTAL // 2**40} TiB"
    return None
