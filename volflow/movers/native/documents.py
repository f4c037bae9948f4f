"""The JSON documents of a repository: indexes, snapshots, locks, the configuration.

From restic's design document, "Unpacked Data Format".
"""

from __future__ import annotations

import json
from typing import Any

from volflow.movers.native.compression import compress, decompress
from volflow.movers.native.crypto import Buffer, DamagedError, Key

_COMPRESSED = 2
# Bytes of the largest document: an index of restic has at most some 50,000 blobs in about 10 MB.
MOST = 128 * 2**20


def seal(key: Key, document: Any) -> tuple[bytes, ...]:
    """The parts of the file of a document."""
    text = json.dumps(document, separators=(",", ":")).encode()
    return key.seal(bytes([_COMPRESSED]) + compress(text))


def unseal(key: Key, sealed: Buffer, what: str) -> Any:
    """The document in a file.

    :param what: what it is, for the error
    :raises DamagedError: it is damaged, too large, or no document
    """
    text = key.open(sealed, what)
    if text[:1] == bytes([_COMPRESSED]):
        text = decompress(memoryview(text)[1:], MOST, what)
    elif text[:1] not in (b"{", b"["):
        raise DamagedError(f"{what} in the repository has an unknown format.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{what} in the repository is no JSON: {error}.") from error


def unseal_object(key: Key, sealed: Buffer, what: str) -> dict[str, Any]:
    """The document in a file, which must be an object.

    :raises DamagedError: it is damaged, too large, or no object
    """
    found = unseal(key, sealed, what)
    if not isinstance(found, dict):
        raise DamagedError(f"{what} in the repository is no object.")
    return found
