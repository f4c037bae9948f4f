"""Repositories of restic that are quick to make and open.

restic makes it expensive to try a password, as it should. The tests start restic many thousand
times, with passwords that everyone knows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

_CHEAP = {"N": 1024, "r": 8, "p": 1}
_SIZE = 16
_MEMORY = 256 * 1024**2


def make(path: Path, password: str) -> None:
    """Make a repository by copying one that this process made for the same password."""
    shutil.copytree(Path(_made(password).name) / "repository", path)


@cache
def _made(password: str) -> tempfile.TemporaryDirectory[str]:
    directory = tempfile.TemporaryDirectory(prefix="volflow-repository-")
    repository = Path(directory.name) / "repository"
    environment = {**os.environ, "RESTIC_PASSWORD": password}
    command = ["restic", "--no-cache", "--repo", str(repository), "init"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    _cheapen(repository, password)
    return directory


def _cheapen(repository: Path, password: str) -> None:
    """Replace the key of a new repository by one that is derived cheaply from its password.

    As in restic's design document, "Keys, Encryption and MAC".
    """
    (file,) = (repository / "keys").iterdir()
    told = json.loads(file.read_text())
    sealed = base64.b64decode(told["data"])
    nonce, secret = sealed[:_SIZE], sealed[_SIZE:-_SIZE]
    plain = _crypt(_derived(told, password), nonce, secret)
    told |= _CHEAP
    key, nonce = _derived(told, password), os.urandom(_SIZE)
    secret = _crypt(key, nonce, plain)
    told["data"] = base64.b64encode(nonce + secret + _mac(key, nonce, secret)).decode()
    text = json.dumps(told).encode()
    file.with_name(hashlib.sha256(text).hexdigest()).write_bytes(text)
    file.unlink()


def _derived(told: dict[str, Any], password: str) -> bytes:
    """The key that encrypts (32 bytes), and the key that authenticates (32 bytes)."""
    return hashlib.scrypt(
        password.encode(),
        salt=base64.b64decode(told["salt"]),
        n=told["N"],
        r=told["r"],
        p=told["p"],
        maxmem=_MEMORY,
        dklen=64,
    )


def _crypt(key: bytes, nonce: bytes, text: bytes) -> bytes:
    return Cipher(AES(key[:32]), CTR(nonce)).encryptor().update(text)


def _mac(key: bytes, nonce: bytes, secret: bytes) -> bytes:
    pad = Cipher(AES(key[32:48]), ECB()).encryptor().update(nonce)
    return Poly1305.generate_tag(key[48:64] + pad, secret)
