"""restic as the mover.

The host of a snapshot with data is the volume's id, that of a verdict is ``checked-`` and the
volume's id. Both have the time of the data. So ``restic forget --group-by host --keep-...`` applies
to each volume, and decides for a verdict as for its data.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from volflow.disk import comparison
from volflow.errors import HostError, RepositoryError
from volflow.host.namespace import MountNamespace
from volflow.movers.base import ATTRIBUTES, MANIFEST, MountedTree, RawImage, Saved, StoredPath
from volflow.movers.restic import images
from volflow.movers.restic.program import ResticProgram, time_of
from volflow.movers.restic.readback import missing
from volflow.movers.restic.repository import now, pack
from volflow.movers.stall import StallGuard
from volflow.movers.verdicts import tags_of_copy, tags_of_verdict
from volflow.results.outcome import CopyProgress, Figures

# The first version whose restore turns zeros into holes.
SPARSE_RESTORE = (0, 15, 0)
# Exit status of restic backup: stored, but some files could not be read.
_SOME_UNREAD = 3
# What JSON shows for bytes that are no text.
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
# Placeholder for a file that restic could not read and does not name.
_UNNAMED = "a file that restic does not name"
# The number of differing files to name.
_NAMED = 20
# Bytes of a command line to use. Linux allows 2 MiB, of which the environment takes a part.
_COMMAND_LINE = 2**20
# In the namespace's root: the patterns of what is left out.
_LEFT_OUT = "left-out"
# How often a verdict is stored that the repository accepts but does not have.
_STORED_AT_MOST = 3
_EPOCH = datetime.fromtimestamp(0, UTC)


class ResticMover:
    """Copies with ``restic backup``, ``restic restore`` and ``restic dump``.

    :param program: restic, set up for this repository
    """

    def __init__(self, program: ResticProgram) -> None:
        self._program = program

    @property
    def restores_holes(self) -> bool:
        """Whether restore never writes more of a sparse file than was allocated."""
        return self._program.version >= SPARSE_RESTORE

    def save(
        self,
        namespace: MountNamespace,
        regions: Sequence[MountedTree | RawImage],
        *,
        volume_id: str,
        tags: Mapping[str, str],
        listed_at: datetime,
        parent_id: str | None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> Saved:
        """Store the regions and the manifest as one restic snapshot, without a verdict."""
        command = _backup(volume_id, tags_of_copy(tags), listed_at)
        command += ["--parent", parent_id] if parent_id else ["--force"]
        # Relative to the root: a path is the same wherever the root is. What restic groups
        # snapshots by is the same whatever the number of regions is.
        command += self._without(namespace, regions)
        command += [*sorted({region.path.parts[0] for region in regions}), str(MANIFEST)]
        summary: dict[str, Any] = {}
        watch = StallGuard(stopping, self._program.settings.stall_limit)

        def read(line: str) -> None:
            message = _message(line)
            if message.get("message_type") == "status":
                copied = CopyProgress(
                    message.get("files_done", 0),
                    message.get("total_files", 0),
                    message.get("bytes_done", 0),
                    message.get("total_bytes", 0),
                )
                watch.at(copied)
                progress(copied)
            elif message.get("message_type") == "summary":
                summary.update(message)

        raw = [region for region in regions if isinstance(region, RawImage)]
        with images.shown(namespace, raw, listed_at):
            status, errors = self._program.follow(namespace, command, read, watch, all_errors=True)
        if status not in (0, _SOME_UNREAD) or "snapshot_id" not in summary:
            raise self._program.error("backup", status, errors, namespace=namespace)
        # These are always new. Only files of the volume are counted.
        beside = [region.path for region in regions if region.path.is_relative_to(ATTRIBUTES)]
        places = [namespace.root / path for path in (MANIFEST, *beside)]
        own = namespace.run("stat", "--format=%s", *places).split()
        # An older parent has the manifest only.
        changed = min(len(own), summary["files_changed"]) if parent_id else 0
        return Saved(
            id=self._full_id(summary["snapshot_id"]),
            figures=Figures(
                files_new=max(0, summary["files_new"] - (len(own) - changed)),
                files_changed=summary["files_changed"] - changed,
                files_unmodified=summary["files_unmodified"],
                bytes_total=summary["total_bytes_processed"] - sum(map(int, own)),
                bytes_stored=summary["data_added"],
            ),
            unread=_unread(errors, namespace.root) if status == _SOME_UNREAD else (),
        )

    def confirm(
        self,
        namespace: MountNamespace,
        copy_id: str,
        *,
        volume_id: str,
        tags: Mapping[str, str],
        listed_at: datetime,
        stopping: threading.Event,
    ) -> bool:
        """Store the manifest as a restic snapshot of its own, which names the one of the data."""
        verdict = tags_of_verdict(copy_id, {**tags, "volume": volume_id})
        command = [*_backup(f"checked-{volume_id}", verdict, listed_at), "--force", str(MANIFEST)]
        summary: dict[str, Any] = {}
        watch = StallGuard(stopping, self._program.settings.stall_limit)

        def read(line: str) -> None:
            message = _message(line)
            if message.get("message_type") == "summary":
                summary.update(message)

        for attempt in range(_STORED_AT_MOST):
            summary.clear()
            status, errors = self._program.follow(namespace, command, read, watch)
            if status or "snapshot_id" not in summary:
                raise self._program.error("backup", status, errors, namespace=namespace)
            lost = missing(self._program, copy_id, summary["snapshot_id"])
            if not lost:
                return attempt > 0
            if copy_id in lost:
                break
        raise RepositoryError(
            f"The repository {self._program.location} has accepted snapshot {lost[0][:8]}, but "
            "does not have it. Is there a proxy between this host and the storage that answers in "
            "its place? 'volflow repository check' tells what else is missing."
        )

    def _without(
        self, namespace: MountNamespace, regions: Sequence[MountedTree | RawImage]
    ) -> list[str]:
        """The options by which restic leaves out parts of trees."""
        paths = [
            f"{root}/{region.path}/{path}".rstrip("/")
            # restic knows where it works by the path without links.
            for root in {namespace.root, namespace.root.resolve()}
            for region in regions
            if isinstance(region, MountedTree)
            for path in region.without
        ]
        if not paths:
            return []
        # restic takes white space off the lines of a file.
        odd = [path for path in paths if path != path.rstrip() or {"\n", "\r"} & set(path)]
        options = [f"--exclude={pattern(Path(path.lstrip('/')))}" for path in odd]
        if _length(options) > _COMMAND_LINE:
            raise RepositoryError(
                f"{len(odd):,} directories that cannot be stored have white space at the end of "
                "their names: too many for restic. Rename them in the guest."
            )
        lines = [pattern(Path(path.lstrip("/"))) for path in paths if path not in set(odd)]
        if lines:
            # It replaces variables.
            text = "".join(f"{line}\n" for line in lines).replace("$", "$$")
            namespace.write(namespace.root / _LEFT_OUT, text)
            options.append(f"--exclude-file={namespace.root / _LEFT_OUT}")
        return options

    def _full_id(self, snapshot_id: str) -> str:
        """The full id for the beginning of one, which is all that restic 0.14 prints.

        The cache has a file with the full name of the snapshot that was just stored. Without it,
        the beginning is a valid id too.
        """
        done = self._program.privilege.attempt(
            "find", str(self._program.settings.cache_dir), "-path", f"*/snapshots/*/{snapshot_id}*"
        )
        names = {Path(line).name for line in done.stdout.splitlines()}
        return names.pop() if len(names) == 1 else snapshot_id

    def paths(self, backup_id: str, tree: Path) -> Iterator[StoredPath]:
        """Every path below a tree of a backup."""
        root = f"/{tree}"
        for line in self._program.lines(
            "ls", "--json", "--no-lock", "--recursive", backup_id, root
        ):
            node = json.loads(line)
            if node["struct_type"] != "node":
                continue
            path = str(node["path"])
            if _UNKNOWN in path:
                # restic shows bytes that are not UTF-8 like this.
                raise RepositoryError(
                    f"restic does not report the exact name of '{path.removeprefix(root)}', which "
                    "is not UTF-8. Such a backup cannot be restored over existing files: restore "
                    "without --keep-extra and --overwrite, or to a new volume."
                )
            if path == root or path.startswith(f"{root}/"):
                yield StoredPath(
                    path.removeprefix(root).lstrip("/"),
                    node["type"] == "dir",
                    (time_of(str(node["mtime"])) - _EPOCH) // timedelta(microseconds=1),
                )

    def restore(
        self,
        namespace: MountNamespace,
        backup_id: str,
        paths: Sequence[Path],
        *,
        without: Sequence[Path] = (),
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Write these paths of the backup, with their contents, below the namespace's root."""
        command = ["restore", backup_id, "--target", str(namespace.root)]
        if self.restores_holes:
            command.append("--sparse")
        watch = StallGuard(stopping, self._program.settings.stall_limit)

        def look() -> None:
            files, size = namespace.written()
            copied = CopyProgress(files=files, bytes=size)
            watch.at(copied)
            progress(copied)

        for options in _includes(paths, without):
            with _polled(look):
                status, errors = self._program.follow(
                    namespace, [*command, *options], lambda _: None, watch
                )
            # The exit status is 1 if some files could not be restored.
            if status:
                raise self._program.error("restore", status, errors, namespace=namespace)

    def compare(
        self,
        namespace: MountNamespace,
        backup_id: str,
        tree: Path,
        *,
        covered: Callable[[str], bool] | None = None,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Compare a tree below the namespace's root with the same tree of the backup."""
        watch = StallGuard(stopping, self._program.settings.stall_limit)
        differing: list[str] = []

        def read(line: str) -> None:
            message = json.loads(line)
            if "path" in message:
                path = message["path"].removeprefix(str(tree))
                if covered and not covered(path.lstrip("/")):
                    return
                differing.append(f"{path} ({message['differs']})")
            else:
                copied = CopyProgress(files=message["files"], bytes=message["bytes"])
                watch.at(copied)
                progress(copied)

        command = ["dump", backup_id, f"/{tree}"]
        program = (sys.executable, "-I", "-S", comparison.__file__, namespace.root)
        status, errors = self._program.follow(namespace, command, read, watch, through=program)
        if status:
            raise self._program.error("dump", status, errors, namespace=namespace)
        if differing:
            more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
            raise HostError(
                f"What was restored differs from what is stored: {', '.join(differing[:_NAMED])}"
                f"{more}."
            )

    def restore_image(
        self,
        namespace: MountNamespace,
        backup_id: str,
        image: RawImage,
        *,
        blank: bool,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Write an image of the backup to its range of a device."""
        images.restore(
            self._program,
            namespace,
            backup_id,
            image,
            blank=blank,
            progress=progress,
            stopping=stopping,
        )

    def compare_image(
        self,
        namespace: MountNamespace,
        backup_id: str,
        image: RawImage,
        *,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        """Compare the range of a device with an image of the backup."""
        images.compare(
            self._program, namespace, backup_id, image, progress=progress, stopping=stopping
        )


def _message(line: str) -> dict[str, Any]:
    """A line of ``restic backup --json``; empty if it is none of JSON."""
    found: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    return found


def _backup(host: str, tags: Mapping[str, str], listed_at: datetime) -> list[str]:
    """The restic command for a snapshot, without its parent and its paths."""
    # restic takes the time of day of its own time zone, which is UTC.
    time = listed_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    command = ["backup", "--json", "--host", host, "--time", time]
    for tag in pack({**tags, "stored": now()}):
        command += ["--tag", tag]
    return command


def pattern(path: Path) -> str:
    """The pattern that matches only this path of a snapshot and the paths below it."""
    return "/" + re.sub(r"([*?\[\\])", r"\\\1", str(path))


def _includes(paths: Sequence[Path], without: Sequence[Path]) -> Iterator[list[str]]:
    """The options for each call of restic: a command line has a maximum length."""
    less = [option for path in without for option in ("--include", f"!{pattern(path)}")]
    if _length(less) > _COMMAND_LINE:
        raise RepositoryError(
            f"The volume has {len(without):,} files that are to be kept, between others that are to"
            " be restored. These are too many for restic: restore with another --overwrite, or to "
            "a new volume."
        )
    options: list[str] = []
    room = _COMMAND_LINE - _length(less)
    for path in paths:
        include = ["--include", pattern(path)]
        if options and _length(include) > room:
            yield options + less
            options, room = [], _COMMAND_LINE - _length(less)
        options += include
        room -= _length(include)
    if options:
        yield options + less


def _length(arguments: Sequence[str]) -> int:
    """The bytes that these arguments take of a command line: with their ends and pointers."""
    return sum(len(os.fsencode(one)) + 9 for one in arguments)


def _unread(errors: Sequence[str], root: Path) -> tuple[str, ...]:
    """The paths below the root that restic could not read; at least one."""
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
    """Call a function at regular intervals while the block runs."""
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
