"""Everything that a backup asks about a mounted tree as a whole, found in one pass over it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from volflow.disk import sparse
from volflow.disk.holes import Sparse
from volflow.errors import DiskError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.printable import bounded

# Paths that are kept to be shown. Only a count is kept of all others.
SHOWN = 100
# Characters of a path in a message.
_LONGEST = 300
# Seconds since the epoch that 64 bits of nanoseconds can hold, which is how restic stores a time:
# from 1677-09-21 to 2262-04-11.
_EARLIEST, _LATEST = -(2**63) / 1e9, (2**63 - 1) / 1e9
# For each entry: its type, 512-byte blocks, size, links, inode, mtime, ctime, and path in the tree.
# For a million files, GNU find takes less than half of Python's time. Its exit status is 1 if it
# could not examine some; nsenter's is too, if it could not start find.
_FIND = """find "$1" -xdev -printf '%y %b %s %n %i %T@ %C@ %P\\0' || [ $? = 1 ]"""


@dataclass(frozen=True)
class Paths:
    """Paths of a kind, of which there may be very many.

    :ivar count: how many there are
    :ivar shown: the first ones, relative to the tree; at most :data:`SHOWN`
    """

    count: int = 0
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """A time in which files may have changed without a trace.

    A file that was changed before and after a snapshot, within one tick of the clock, has the same
    ctime after both changes.

    :ivar since: files with a ctime and mtime before this are older; seconds since the epoch
    :ivar until: files with a ctime after this have certainly changed later, which their ctime shows
    """

    since: float
    until: float = float("inf")

    def has(self, modified: float, changed: float, *, coarse: bool) -> bool:
        """Whether a file with these times is in it.

        :param coarse: its ctime may be in whole seconds: then a later one shows nothing either,
            because this host may have set the same one on the copy of the volume
        """
        return max(modified, changed) >= self.since and (coarse or changed <= self.until)


@dataclass(frozen=True)
class Survey:
    """A mounted tree as a whole.

    :ivar sparse: the sparse files, by path in the tree
    :ivar newest: the latest ctime of anything in the tree, in seconds since the epoch. Unlike an
        mtime it comes from the guest's clock alone
    :ivar recent: the same, of those that are not later than a given time; 0 if all are
    :ivar used: bytes that files and directories occupy; what several names share counts once for
        hard links, and each time for blocks that files share
    :ivar entries: the number of entries by type, as ``find -printf %y`` shows it: f, d, l, p, s,
        b, c
    :ivar sockets: restic stores no sockets
    :ivar unstorable_times: entries with an mtime that restic cannot store
    :ivar unsettled: the regular files in a given window, by path in the tree
    """

    sparse: Mapping[str, Sparse] = field(default_factory=dict)
    newest: float = 0.0
    recent: float = 0.0
    used: int = 0
    entries: Mapping[str, int] = field(default_factory=dict)
    sockets: Paths = Paths()
    unstorable_times: Paths = Paths()
    unsettled: tuple[str, ...] = ()


def survey(
    runs: Privilege | MountNamespace,
    tree: Path,
    *,
    until: float = float("inf"),
    window: Window | None = None,
) -> Survey:
    """Look at everything in a tree, in one pass.

    No file is read, and only those are opened that look sparse. What cannot be examined is left
    out: the copy cannot read it either, and reports it.

    :param until: seconds since the epoch, for :attr:`Survey.recent`
    :param window: for :attr:`Survey.unsettled`
    :raises DiskError: it is no tree, because a directory has several names
    :raises HostError: the tree could not be searched
    """
    entries: Counter[bytes] = Counter()
    sockets: list[bytes] = []
    unstorable: list[bytes] = []
    unsettled: list[bytes] = []
    candidates: list[bytes] = []
    linked: set[bytes] = set()
    directories: set[int] = set()
    newest, recent = float("-inf"), 0.0
    blocks, odd_times = 0, 0
    for record in runs.records("sh", "-c", _FIND, "sh", str(tree)):
        kind, own, size, links, inode, mtime, ctime, path = record.split(b" ", 7)
        entries[kind] += 1
        modified, changed = float(mtime), float(ctime)
        if kind == b"f":
            if links == b"1" or inode not in linked:
                blocks += int(own)
            if links != b"1":
                linked.add(inode)
            if 512 * int(own) < int(size):
                candidates.append(path)
            if window and window.has(
                modified, changed, coarse=not ctime.partition(b".")[2].strip(b"0")
            ):
                unsettled.append(path)
        elif kind == b"d":
            blocks += int(own)
            if int(inode) in directories:
                raise _several_names(path)
            directories.add(int(inode))
        elif kind == b"s" and len(sockets) < SHOWN:
            sockets.append(path)
        if not _EARLIEST <= modified <= _LATEST:
            odd_times += 1
            if len(unstorable) < SHOWN:
                unstorable.append(path)
        newest = max(newest, changed)
        if recent < changed <= until:
            recent = changed
    return Survey(
        sparse=sparse.looked(runs, tree, list(map(os.fsdecode, candidates))),
        newest=newest if entries else 0.0,
        recent=recent,
        used=512 * blocks,
        entries={os.fsdecode(kind): number for kind, number in entries.items()},
        sockets=_paths(entries[b"s"], sockets),
        unstorable_times=_paths(odd_times, unstorable),
        unsettled=tuple(map(os.fsdecode, unsettled)),
    )


def _several_names(path: bytes) -> DiskError:
    """The error for a directory that was found again.

    A few such directories inside each other have more paths than any program can go through.
    """
    shown = bounded(os.fsdecode(path), _LONGEST)
    return DiskError(
        f"The file system is damaged: the directory '/{shown}' is also at another path. Check and "
        "repair it in the guest with fsck (XFS: xfs_repair). Earlier backups are kept."
    )


def _paths(count: int, shown: list[bytes]) -> Paths:
    return Paths(count, tuple(map(os.fsdecode, shown)))
