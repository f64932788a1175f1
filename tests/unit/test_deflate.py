"""Deflated data come back whole, in whatever pieces, by either library; and never more or less of them."""

import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lse.archive.zip import deflate
from lse.archive.zip.deflate import codec_error, inflated

contents = st.binary(max_size=300) | st.builds(bytes.__mul__, st.binary(max_size=3), st.integers(0, 2_000))
sizes = st.integers(1, 400)


@pytest.fixture(params=[deflate.codec, zlib], scope="module", autouse=True)
def library(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deflate, "codec", request.param)
        yield


def pieces(content: bytes, size: int) -> list[bytes]:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(content) + packer.flush()
    return [packed[at : at + size] for at in range(0, len(packed), size)]


@given(contents, sizes, sizes)
def test_all_comes_back(content: bytes, piece: int, block: int) -> None:
    blocks = list(inflated(pieces(content, piece), block))
    assert b"".join(blocks) == content
    assert all(len(each) <= block for each in blocks[:-1])


@given(contents, sizes, sizes)
def test_data_that_end_too_early_or_go_on_are_refused(content: bytes, piece: int, block: int) -> None:
    whole = pieces(content, piece)
    early, on, further = whole[-1][:-1], whole[-1] + b"xyz", [whole[-1], b"xyz"]
    for wrong in ([*whole[:-1], early], [*whole[:-1], on], [*whole[:-1], *further]):
        with pytest.raises((EOFError, codec_error, zlib.error)):
            list(inflated(wrong, block))
