"""restic as the mover: one restic snapshot is one backup of one volume.

The snapshot's host is the volume's id, so that ``restic forget --keep-...``, which groups by host,
keeps so many backups of each volume.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from volflow.disk import comparison
from volflow.errors import HostError, RepositoryError
from volflow.host.identity import host_name, started
from volflow.host.namespace import MountNamespace
from volflow.movers.base import MANIFEST, REGIONS, CopyProgress, Saved, StoredBackup
from volflow.movers.restic.program import ResticProgram
from volflow.movers.stall import StallGuard
from volflow.results.outcome import Figures

# The first version whose restore makes holes of zeros by itself.
SPARSE_RESTORE = (0, 15, 0)
# Exit status of restic backup: stored, but some files could not be read.
_SOME_UNREAD = 3
# Seconds for the removal of a lock; to a repository that is gone restic tries for minutes.
_UNLOCK_LIMIT = 20.0
# What stands in JSON for bytes that are no text.
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
# What stands for a file that restic could not read and does not name.
_UNNAMED = "a file that restic does not name"
# So many files that differ are named.
_NAMED = 20
# Marks our snapshots among others in the repository.
_TAG = "volflow"


class Restic(ResticProgram):
    """A restic repository, as the mover."""

    @property
    def restores_holes(self) -> bool:
        """Whether a sparse file never takes more room than it had while it is restored."""
        return self.version >= SPARSE_RESTORE

    def init(self) -> None:
        """Make the repository."""
        self.check()
        self.run("init")

    def backups(self) -> list[StoredBackup]:
        """All backups in the repository, the oldest first; shows that it can be written to."""
        self._local_is_writable()
        return list(_last(self._snapshots()).values())

    def _snapshots(self) -> list[StoredBackup]:
        """All our snapshots, the oldest first."""
        found = json.loads(self.run("snapshots", "--json", "--tag", _TAG)) or []
        try:
            stored = [
                StoredBackup(
                    id=snapshot["id"],
                    created_at=time_of(snapshot["time"]),
                    tags=_unpack(snapshot.get("tags") or []),
                )
                for snapshot in found
            ]
        except ValueError as error:
            # There are times in the world of restic that there are not in Python's.
            raise RepositoryError(
                f"The repository {self.location} holds a snapshot of no possible time ({error}): "
                "'restic forget' removes it."
            ) from error
        return sorted(stored, key=lambda backup: backup.created_at)

    def _local_is_writable(self) -> None:
        """Tell at once what restic tells after trying for most of a minute."""
        path = self.local_path
        if path is None:
            return
        there = self._privilege.attempt("test", "-d", str(path)).returncode == 0
        if there and self._privilege.attempt("test", "-w", str(path)).returncode:
            raise RepositoryError(
                f"The repository {self.location} cannot be written to: look at how its file "
                "system is mounted."
            )

    def save(
        self,
        namespace: MountNamespace,
        *,
        volume_id: str,
        tags: Mapping[str, str],
        parent_id: str | None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> Saved:
        """Store what is below the namespace's root as one restic snapshot."""
        command = ["backup", "--json", "--host", volume_id]
        for tag in _pack(tags):
            command += ["--tag", tag]
        command += ["--parent", parent_id] if parent_id else ["--force"]
        # Relative to the root: a path is the same wherever the root is.
        command += [str(REGIONS), str(MANIFEST)]
        summary: dict[str, Any] = {}
        watch = StallGuard(stopping, self._group.stall_limit)

        def read(line: str) -> None:
            if not line.startswith("{"):
                return
            message = json.loads(line)
            if message["message_type"] == "status":
                copied = CopyProgress(
                    message.get("files_done", 0),
                    message.get("total_files", 0),
                    message.get("bytes_done", 0),
                    message.get("total_bytes", 0),
                )
                watch.at(copied)
                progress(copied)
            elif message["message_type"] == "summary":
                summary.update(message)

        status, errors = self.follow(namespace, command, read, watch)
        if status not in (0, _SOME_UNREAD) or "snapshot_id" not in summary:
            raise self.error("backup", status, errors)
        # The manifest is ours and always new; only the volume's own files are counted.
        own = namespace.run("stat", "--format=%s", namespace.root / MANIFEST)
        return Saved(
            id=self._full_id(summary["snapshot_id"]),
            figures=Figures(
                files_new=summary["files_new"] - (not parent_id),
                files_changed=summary["files_changed"] - bool(parent_id),
                files_unmodified=summary["files_unmodified"],
                bytes_total=summary["total_bytes_processed"] - int(own),
                bytes_stored=summary["data_added"],
            ),
            unread=_unread(errors, namespace.root) if status == _SOME_UNREAD else (),
        )

    def _full_id(self, snapshot_id: str) -> str:
        """The whole of an id of which restic 0.14 tells only the beginning.

        The cache holds the snapshot that was just stored under its full name. Where it does not,
        the beginning is an id too.
        """
        done = self._privilege.attempt(
            "find", self._cache_dir, "-path", f"*/snapshots/*/{snapshot_id}*"
        )
        names = {Path(line).name for line in done.stdout.splitlines()}
        return names.pop() if len(names) == 1 else snapshot_id

    def forget(self, backup_id: str) -> None:
        """Strike a backup; what nothing else needs is freed by :meth:`prune`."""
        stored = self._snapshots()
        whose = {_whose(one) for one in stored if one.id == backup_id}
        # With what it has taken the place of: that must not come forth again.
        ids = [one.id for one in stored if _whose(one) in whose]
        self.run("forget", *dict.fromkeys([*ids, backup_id]))

    def prune(self) -> str:
        """Free what no backup needs any more; gives restic's report."""
        stored = self._snapshots()
        last = {one.id for one in _last(stored).values()}
        if replaced := [one.id for one in stored if one.id not in last]:
            self.run("forget", *replaced)
        return self.run("prune")

    def unlock(self) -> None:
        """Remove the locks of processes that are no more; those of living ones stay.

        :raises RepositoryError: one stays whose process has ended: restic takes it for alive as
            long as its parent has not taken note of that
        """
        self.run("unlock", limit=_UNLOCK_LIMIT)
        for lock_id in self._locks():
            try:
                lock = json.loads(self.run("cat", "lock", lock_id, "--no-lock"))
            except RepositoryError:
                if lock_id in self._locks():
                    raise
                continue  # that of a living process, which has ended meanwhile
            if lock["hostname"] == host_name() and not started(int(lock["pid"])):
                raise RepositoryError(
                    f"Lock {lock_id[:8]} of the repository {self.location} stays, though process "
                    f"{lock['pid']} that held it has ended. 'restic unlock' removes it as soon as "
                    "the kernel has forgotten that process."
                )

    def _locks(self) -> list[str]:
        return self.run("list", "locks", "--no-lock", limit=_UNLOCK_LIMIT).split()

    def manifest(self, backup_id: str) -> str:
        """The text of a backup's manifest."""
        return self.run("dump", backup_id, f"/{MANIFEST}")

    def paths(self, backup_id: str, tree: Path) -> Iterator[tuple[str, bool]]:
        """Every path below a tree of a backup, and whether it is a directory."""
        root = f"/{tree}"
        for line in self.lines("ls", "--json", "--recursive", backup_id, root):
            node = json.loads(line)
            if node["struct_type"] != "node":
                continue
            path = str(node["path"])
            if _UNKNOWN in path:
                # So it tells what is not UTF-8.
                raise RepositoryError(
                    f"restic does not tell how the file '{path.removeprefix(root)}' is really "
                    "called, whose name is not UTF-8: such a backup cannot be restored over what "
                    "is there. Restore without --keep-newer, or to a new volume."
                )
            if path == root or path.startswith(f"{root}/"):
                yield path.removeprefix(root).lstrip("/"), node["type"] == "dir"

    def restore(
        self,
        namespace: MountNamespace,
        backup_id: str,
        *,
        paths: Sequence[Path] = (REGIONS,),
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Write what is below these paths of the backup below the namespace's root."""
        command = ["restore", backup_id, "--target", str(namespace.root)]
        for path in paths:
            command += ["--include", pattern(path)]
        if self.restores_holes:
            command.append("--sparse")
        watch = StallGuard(stopping, self._group.stall_limit)

        def look() -> None:
            files, size = namespace.written()
            copied = CopyProgress(files=files, bytes=size)
            watch.at(copied)
            progress(copied)

        with _polled(look):
            status, errors = self.follow(namespace, command, lambda _: None, watch)
        # Up to 0.17 a file that could not be restored is told, and the exit status is 1.
        if status:
            raise self.error("restore", status, errors)

    def compare(
        self,
        namespace: MountNamespace,
        backup_id: str,
        tree: Path,
        *,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Compare a tree below the namespace's root with that of the backup."""
        watch = StallGuard(stopping, self._group.stall_limit)
        differing: list[str] = []

        def read(line: str) -> None:
            told = json.loads(line)
            if "path" in told:
                path = told["path"].removeprefix(str(tree))
                differing.append(f"{path} ({told['differs']})")
            else:
                copied = CopyProgress(files=told["files"], bytes=told["bytes"])
                watch.at(copied)
                progress(copied)

        command = ["dump", backup_id, f"/{tree}"]
        program = (sys.executable, "-I", "-S", comparison.__file__, namespace.root)
        status, errors = self.follow(namespace, command, read, watch, through=program)
        if status:
            raise self.error("dump", status, errors)
        if differing:
            more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
            raise HostError(
                f"What was restored differs from what is stored: {', '.join(differing[:_NAMED])}"
                f"{more}."
            )


def pattern(path: Path) -> str:
    """The pattern that matches this path of a snapshot and what is below it, and nothing else."""
    return "/" + re.sub(r"([*?\[\\])", r"\\\1", str(path))


def _whose(stored: StoredBackup) -> tuple[str, ...]:
    """What a run has stored of a volume is one backup, however often it had to begin."""
    run, volume = stored.tags.get("run"), stored.tags.get("volume")
    return (run, volume) if run and volume else (stored.id,)


def _last(stored: Sequence[StoredBackup]) -> dict[tuple[str, ...], StoredBackup]:
    """The last of what each run has stored of each volume, in the order of all."""
    last = {_whose(one): one for one in stored}
    return dict(sorted(last.items(), key=lambda item: item[1].created_at))


def _pack(tags: Mapping[str, str]) -> list[str]:
    # restic splits what it is given at commas.
    return [_TAG, *(f"{key}={quote(value, safe='')}" for key, value in tags.items())]


def _unpack(tags: Sequence[str]) -> dict[str, str]:
    return {
        key: unquote(value) for key, mark, value in (tag.partition("=") for tag in tags) if mark
    }


def time_of(text: str) -> datetime:
    """A time as restic writes it: with nanoseconds, of which datetime takes six digits."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))


def _unread(errors: Sequence[str], root: Path) -> tuple[str, ...]:
    """The paths below the root that restic could not read; there is one at least."""
    paths = []
    for line in errors:
        if line.startswith("{"):
            message = json.loads(line)
            if message.get("message_type") == "error":
                path = str(message.get("item") or message.get("error"))
                paths.append(path.removeprefix(f"{root}/"))
    return tuple(dict.fromkeys(paths)) or (_UNNAMED,)


@contextmanager
def _polled(act: Callable[[], None], seconds: float = 1.0) -> Iterator[None]:
    """Act every so many seconds, as long as the block runs."""
    over = threading.Event()

    def poll() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
