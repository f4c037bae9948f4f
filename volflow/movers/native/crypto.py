"""Encrypts and authenticates as restic does: AES-256 in counter mode, and Poly1305-AES.

From restic's design document, "Keys, Encryption and MAC". What is sealed begins with 16 random
bytes, the nonce of both, and ends with 16 bytes, the authentication code.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from volflow.errors import RepositoryError

_SIDE = 16
# How many bytes what is sealed is longer than the plain text.
OVERHEAD = 2 * _SIDE

Buffer = bytes | bytearray | memoryview


class DamagedError(RepositoryError):
    """Something in the repository is not what was stored."""


@dataclass(frozen=True)
class Key:
    """The master key of a repository.

    :ivar cipher: the key of AES-256, 32 bytes
    :ivar mac_k: the key of AES for the authentication code, 16 bytes
    :ivar mac_r: the key of Poly1305, 16 bytes
    """

    cipher: bytes = field(repr=False)
    mac_k: bytes = field(repr=False)
    mac_r: bytes = field(repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Key:
        """The key in a document, as ``restic cat masterkey`` prints it.

        :raises RepositoryError: it is none
        """
        try:
            key = cls(
                base64.b64decode(document["encrypt"], validate=True),
                base64.b64decode(document["mac"]["k"], validate=True),
                base64.b64decode(document["mac"]["r"], validate=True),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RepositoryError(f"This is no master key of restic: {error!r}.") from error
        if [len(key.cipher), len(key.mac_k), len(key.mac_r)] != [32, _SIDE, _SIDE]:
            raise RepositoryError("This is no master key of restic: it has another length.")
        return key

    @property
    def document(self) -> dict[str, Any]:
        """The key as ``restic cat masterkey`` prints it."""
        text = [base64.b64encode(each).decode() for each in (self.cipher, self.mac_k, self.mac_r)]
        return {"encrypt": text[0], "mac": {"k": text[1], "r": text[2]}}

    def seal(self, text: Buffer) -> tuple[bytes, bytes, bytes]:
        """Encrypt; returns the three parts, to be written one after the other."""
        nonce = os.urandom(_SIDE)
        secret = self._crypt(nonce, text)
        return nonce, secret, self._code(nonce, secret)

    def seal_into(self, text: Buffer, to: memoryview) -> int:
        """Encrypt into memory; returns the number of bytes, :data:`OVERHEAD` more than the text.

        :param to: has room for them
        """
        end = _SIDE + len(text)
        nonce = os.urandom(_SIDE)
        to[:_SIDE] = nonce
        # The room for the code is what the cipher asks for beyond the text.
        Cipher(AES(self.cipher), CTR(nonce)).encryptor().update_into(text, to[_SIDE : end + _SIDE])
        to[end : end + _SIDE] = self._code(nonce, to[_SIDE:end])
        return end + _SIDE

    def open(self, sealed: Buffer, what: str) -> bytes:
        """Decrypt.

        :param what: what it is, for the error
        :raises DamagedError: it is damaged, or was sealed with another key
        """
        view = memoryview(sealed)
        nonce, secret, code = bytes(view[:_SIDE]), view[_SIDE:-_SIDE], bytes(view[-_SIDE:])
        if len(view) < OVERHEAD or not hmac.compare_digest(self._code(nonce, secret), code):
            raise DamagedError(
                f"{what} in the repository is damaged: its authentication code is wrong. 'restic "
                "check --read-data' tells what else is."
            )
        return self._crypt(nonce, secret)

    def _crypt(self, nonce: bytes, text: Buffer) -> bytes:
        return Cipher(AES(self.cipher), CTR(nonce)).encryptor().update(text)

    def _code(self, nonce: bytes, secret: Buffer) -> bytes:
        pad = Cipher(AES(self.mac_k), ECB()).encryptor().update(nonce)
        # Poly1305 itself clears the bits of r that restic masks.
        return Poly1305.generate_tag(self.mac_r + pad, secret)
