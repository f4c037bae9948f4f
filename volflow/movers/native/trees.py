"""Trees: the directories of a backup, as restic stores them.

From restic's design document, "Trees and Data". What is known of a node is kept as it is, whatever
a newer restic adds to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from volflow.errors import RepositoryError
from volflow.movers.native.blobs import ID
from volflow.movers.native.crypto import DamagedError
from volflow.times import utc

Node = dict[str, Any]

# The bit that Go has in the mode of a directory (io/fs).
_DIRECTORY = 1 << 31
_ROOT = {"uid": 0, "gid": 0, "user": "root", "group": "root"}
_HEX = re.compile(r"[0-9a-f]*")
# What Go's encoder escapes in a text.
_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def decode(content: bytes, what: str) -> list[Node]:
    """The nodes of a tree.

    :param what: what it is, for the error
    :raises DamagedError: it is no tree
    """
    try:
        found = json.loads(content)
        nodes = found["nodes"] or []
        if not all(isinstance(node["name"], str) for node in nodes):
            raise ValueError("a node without a name")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedError(f"{what} in the repository is no tree: {error!r}.") from error
    return list(nodes)


def encode(nodes: Iterable[Node]) -> bytes:
    """The content of a tree, byte for byte as restic writes it."""
    ordered = sorted(nodes, key=lambda node: str(node["name"]).encode())
    text = json.dumps({"nodes": ordered}, separators=(",", ":"), ensure_ascii=False)
    return f"{text.translate(_ESCAPED)}\n".encode("utf-8", errors="surrogatepass")


def directory(name: str, subtree: bytes, modified: datetime, inode: int) -> Node:
    """A directory that belongs to root."""
    return {
        "name": name,
        "type": "dir",
        "mode": _DIRECTORY | 0o700,
        **_times(modified),
        **_ROOT,
        "inode": inode,
        "content": None,
        "subtree": subtree.hex(),
    }


def file(name: str, size: int, content: Sequence[str], modified: datetime, inode: int) -> Node:
    """A file that only root can read.

    :param content: the ids of its blobs
    """
    return {
        "name": name,
        "type": "file",
        "mode": 0o600,
        **_times(modified),
        **_ROOT,
        "inode": inode,
        "size": size,
        "links": 1,
        "content": list(content),
    }


def _times(modified: datetime) -> dict[str, str]:
    text = utc(modified)
    return {"mtime": text, "atime": text, "ctime": text}


def find(nodes: Iterable[Node], name: str) -> Node | None:
    """The node with this name."""
    return next((node for node in nodes if node["name"] == name), None)


def with_node(nodes: Iterable[Node], new: Node) -> list[Node]:
    """The nodes with this one instead of any of its name."""
    return [*(node for node in nodes if node["name"] != new["name"]), new]


def subtree_of(node: Node | None, path: str) -> bytes:
    """The id of the tree of a directory.

    :param path: its path, for the error
    :raises RepositoryError: it is no directory
    """
    if node is None or node.get("type") != "dir":
        raise RepositoryError(f"The backup has no directory '{path}'.")
    return ids([node.get("subtree")], path)


def ids(content: object, path: str) -> bytes:
    """The ids in a list, one after the other.

    :param path: of the node, for the error
    :raises DamagedError: these are none
    """
    if content is None:
        return b""
    if not isinstance(content, list) or not all(
        isinstance(each, str) and len(each) == 2 * ID for each in content
    ):
        raise DamagedError(f"'{path}' in the backup has content that is none.")
    text = "".join(content)
    if not _HEX.fullmatch(text):
        raise DamagedError(f"'{path}' in the backup has content that is none.")
    return bytes.fromhex(text)
