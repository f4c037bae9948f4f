"""What a copy lacks, because it could not be read."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from volflow.disk import directories, special
from volflow.disk.special import Sockets
from volflow.disk.survey import Survey
from volflow.errors import DiskError
from volflow.host.namespace import MountNamespace
from volflow.movers.base import Repository
from volflow.observers.totals import Totals
from volflow.printable import bounded
from volflow.repositories.manifest import Manifest
from volflow.results.outcome import Outcome
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

# The program must not depend on installed packages or on the environment.
_DIRECTORIES = (sys.executable, "-I", "-S", directories.__file__)
#: A partial backup with less than this part of the files of the last complete one has far fewer.
FEW = 0.9
#: If there are more sockets, the manifest does not list them.
MOST_SOCKETS = 10_000
# The number of paths to name, and characters of one.
_SHOWN, _LONGEST = 5, 300
# mkfs makes it.
_MADE = "lost+found"


def named(namespace: MountNamespace, manifest: Manifest, unread: Sequence[str]) -> tuple[str, ...]:
    """The paths in the volume of what could not be read. That of a directory ends with a slash.

    :param unread: as the mover names them: paths in the backup
    """
    if not unread:
        return ()
    there = "".join(f"{path}\0" for path in unread)
    found = set(json.loads(namespace.run(*_DIRECTORIES, namespace.root, stdin=there)))
    volume = {path: manifest.in_volume(path) for path in unread}
    return tuple(
        dict.fromkeys(
            f"{shown.rstrip('/')}/" if path in found else shown for path, shown in volume.items()
        )
    )


def sockets(namespace: MountNamespace, path: Path, found: Survey) -> Sockets:
    """The sockets of a file system, for the manifest: restic stores none.

    :param path: where it is mounted, below the root of the namespace
    :param found: what is known of it
    """
    if not 0 < found.sockets.count <= MOST_SOCKETS:
        return {}
    return special.find_sockets(namespace, namespace.root / path)


def tell_not_kept(work: Work, found: Sequence[Survey]) -> None:
    """Remark what cannot come back as it is: too many sockets, and times that restic cannot store.

    :param found: of each file system
    """
    many = [one.sockets for one in found if one.sockets.count > MOST_SOCKETS]
    if many:
        count = sum(one.count for one in many)
        Remark.SOCKETS.of(
            work,
            f"{count:,} sockets are not in the backup, because there are more than "
            f"{MOST_SOCKETS:,}: their programs must make them again.",
        )
    odd = [one.unstorable_times for one in found if one.unstorable_times.count]
    if odd:
        count = sum(one.count for one in odd)
        shown = [f"/{bounded(path, _LONGEST)}" for one in odd for path in one.shown][:_SHOWN]
        more = f" and {count - len(shown):,} more" if count > len(shown) else ""
        Remark.TIMES.of(
            work,
            "The modification times of these are before 1677 or after 2262. restic cannot store "
            f"such a time, and restores another one: {', '.join(shown)}{more}.",
        )


def refuse_nothing(
    repository: Repository, copy_id: str, manifest: Manifest, unread: Sequence[str]
) -> None:
    """Refuse a copy that holds nothing of a file system: it must not count as a backup.

    :param unread: the paths in the volume of what could not be read
    :raises DiskError: the root of a file system could not be read, or nothing in it
    """
    if not unread:
        return
    for region in manifest.trees:
        root = f"/{region.path}"
        nodes = repository.nodes(copy_id, Path(region.path))
        if not any(node.path == root for node in nodes):
            what = "its root directory cannot be read"
        elif {node.path for node in nodes} <= {root, f"{root}/{_MADE}"}:
            what = f"nothing in its root directory can be read, such as {unread[0]}"
        else:
            continue
        raise DiskError(
            f"The file system is damaged: {what}, so nothing would be in the backup. Check and "
            "repair it in the guest with fsck (XFS: xfs_repair). Earlier backups are kept."
        )


def files_before(work: Work, tags: Mapping[str, str], taken_at: datetime) -> int:
    """The number of files of the last complete backup before this one; 0 if it is not known."""
    whose = [(name, tags.get(name)) for name in ("volume", "project")]
    before = [
        one
        for one in work.repository.backups()
        if [(name, one.tags.get(name)) for name, _ in whose] == whose
        if one.outcome is Outcome.COMPLETE and one.taken_at <= taken_at
    ]
    if not before:
        return 0
    last = before[-1]
    if last.files is not None:
        return last.files
    return Totals(work.services.catalogue, last.id, work.repository.location).files


def far_fewer(files: int, before: int) -> str:
    """The warning of a backup that has far fewer files than the last complete one."""
    return (
        f"WARNING: far fewer files than before. Files in this backup: {files:,}; in the last "
        f"complete one: {before:,}. Keep that one, and check the file system in the guest."
    )
