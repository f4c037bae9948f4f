"""What is decompressed has a limit."""

from __future__ import annotations

import pytest
import zstandard

from volflow.movers.native.compression import compress, decompress
from volflow.movers.native.crypto import DamagedError


def test_what_is_compressed_comes_back() -> None:
    text = b"some text " * 1000
    assert decompress(compress(text), len(text), "it") == text
    assert decompress(compress(b""), 0, "it") == b""


def test_a_frame_without_its_size_is_read() -> None:
    packer = zstandard.ZstdCompressor(write_content_size=False)
    assert decompress(packer.compress(b"x" * 5000), 5000, "it") == b"x" * 5000


@pytest.mark.parametrize("told", [True, False])
def test_more_than_is_expected_is_damage(told: bool) -> None:
    frame = zstandard.ZstdCompressor(write_content_size=told).compress(bytes(2**26))
    with pytest.raises(DamagedError, match="more than"):
        decompress(frame, 1000, "it")


def test_what_is_no_frame_is_damage() -> None:
    for text in (b"", b"no frame at all", compress(b"text" * 100)[:-1]):
        with pytest.raises(DamagedError):
            decompress(text, 1000, "it")
