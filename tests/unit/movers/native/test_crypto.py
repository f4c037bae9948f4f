"""Encryption as restic does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.native_images import Place
from volflow.errors import RepositoryError
from volflow.movers.native import documents
from volflow.movers.native.crypto import DamagedError, Key

KEY = Key(bytes(range(32)), bytes(range(16)), bytes(range(16, 32)))


def test_what_restic_encrypted_is_read(tmp_path: Path) -> None:
    place = Place(tmp_path)
    config = documents.unseal(
        Key.of(place.key), (place.repository / "config").read_bytes(), "config"
    )
    assert config == json.loads(place.restic("cat", "config"))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100_000])
def test_what_is_sealed_comes_back(size: int) -> None:
    text = bytes(number % 251 for number in range(size))
    sealed = b"".join(KEY.seal(text))
    assert KEY.open(sealed, "it") == text
    assert len(sealed) == size + 32


def test_a_changed_bit_is_found_anywhere() -> None:
    sealed = bytearray(b"".join(KEY.seal(b"some text")))
    for place in range(len(sealed)):
        sealed[place] ^= 1
        with pytest.raises(DamagedError, match="authentication code"):
            KEY.open(sealed, "it")
        sealed[place] ^= 1


def test_something_too_short_is_damaged() -> None:
    for size in range(32):
        with pytest.raises(DamagedError):
            KEY.open(bytes(size), "it")


def test_a_key_is_not_shown_in_messages() -> None:
    assert "0x" not in repr(KEY)
    assert str(KEY.cipher) not in repr(KEY)
    assert Key.of(KEY.document) == KEY


@pytest.mark.parametrize(
    "document", [{}, {"encrypt": "AA==", "mac": {"k": "", "r": ""}}, {"mac": 1}]
)
def test_what_is_no_key_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(RepositoryError, match="no master key"):
        Key.of(document)
