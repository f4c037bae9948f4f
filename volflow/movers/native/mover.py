"""The mover that stores and restores images without restic, where that is possible.

File trees, manifests and verdicts are always restic's. Images are stored and restored by
:mod:`.program` if the repository is a local directory of version 2, and by restic otherwise.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from volflow import errors
from volflow.disk import full
from volflow.errors import HostError, RepositoryError, StoppedError, VolflowError
from volflow.host.namespace import MountNamespace
from volflow.host.program import Program, undisturbed
from volflow.movers.base import STORES_WITH, MountedTree, Mover, RawImage, Saved, StoredPath
from volflow.movers.restic.program import ResticProgram
from volflow.movers.stall import StallGuard
from volflow.results.outcome import CopyProgress

LOG = logging.getLogger(__name__)

# It needs the packages that are installed beside volflow. -B: root must not leave files there.
_PROGRAM = (sys.executable, "-I", "-B", "-m", "volflow.movers.native.program")


class NativeMover:
    """Stores and restores images directly, everything else by another mover.

    :param plain: the mover for everything else
    :param program: restic, set up for the same repository
    :param maps: the directory for the maps of chunks; each volume has one of its own in it
    """

    def __init__(self, plain: Mover, program: ResticProgram, maps: Path) -> None:
        self._plain = plain
        self._program = program
        self._maps = maps
        self._guard = threading.Lock()
        # The master key, only in memory; None where restic does everything.
        self._known_key: Mapping[str, Any] | None = None
        self._looked = False

    @property
    def restores_holes(self) -> bool:
        """Whether restore never writes more of a sparse file than was allocated."""
        return self._plain.restores_holes

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
        """Store the regions and the manifest as one restic snapshot, without a verdict.

        restic stores the trees and the manifest. Its snapshot is then replaced by one with the
        images, too.
        """
        images = [region for region in regions if isinstance(region, RawImage)]
        key = self._key(namespace) if images else None
        if key is None:
            return self._plain.save(
                namespace,
                regions,
                volume_id=volume_id,
                tags=tags,
                listed_at=listed_at,
                parent_id=parent_id,
                progress=progress,
                stopping=stopping,
            )
        self._program.check_writable()
        total = sum(image.size for image in images)

        def of_trees(copied: CopyProgress) -> None:
            more = (copied.files_total + len(images), copied.bytes_total + total)
            progress(replace(copied, files_total=more[0], bytes_total=more[1]))

        def of_images(done: int) -> None:
            files, size = saved.figures.files_total, saved.figures.bytes_total
            progress(CopyProgress(files, files + len(images), size + done, size + total))

        saved = self._plain.save(
            namespace,
            [region for region in regions if not isinstance(region, RawImage)],
            volume_id=volume_id,
            tags=tags,
            listed_at=listed_at,
            parent_id=parent_id,
            progress=of_trees,
            stopping=stopping,
        )
        job = self._job("save", key, saved.id, images) | {
            "maps": str(self._maps),
            "volume": volume_id,
            "full": parent_id is None,
            "time": listed_at.isoformat(),
        }
        try:
            summary = self._run(namespace, job, of_images, stopping)
        except VolflowError:
            # Without the images it must not be taken for a backup's copy.
            self._forget(namespace, key, saved.id)
            raise
        unread = tuple(map(str, summary["unread"]))
        images = [image for image in images if str(image.path) not in unread]
        total = sum(image.size for image in images)
        changed, figures = int(summary["changed"]), saved.figures
        return replace(
            saved,
            id=summary["id"],
            unread=(*saved.unread, *unread),
            figures=replace(
                figures,
                files_new=figures.files_new + (0 if parent_id else len(images)),
                files_changed=figures.files_changed + (changed if parent_id else 0),
                files_unmodified=figures.files_unmodified
                + (len(images) - changed if parent_id else 0),
                bytes_total=figures.bytes_total + total,
                bytes_stored=figures.bytes_stored + int(summary["stored"]),
            ),
        )

    def _forget(self, namespace: MountNamespace, key: Mapping[str, Any], copy_id: str) -> None:
        with undisturbed():
            try:
                job = self._job("forget", key, copy_id, [])
                self._run(namespace, job, lambda _: None, threading.Event())
            except VolflowError as error:
                LOG.info(
                    "The unfinished copy %s stays until 'volflow repository prune': %s",
                    copy_id[:8],
                    error,
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
        """Make a copy a backup."""
        return self._plain.confirm(
            namespace,
            copy_id,
            volume_id=volume_id,
            tags=tags,
            listed_at=listed_at,
            stopping=stopping,
        )

    def paths(self, backup_id: str, tree: Path) -> Iterator[StoredPath]:
        """Every path below a tree of a backup."""
        return self._plain.paths(backup_id, tree)

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
        self._plain.restore(
            namespace, backup_id, paths, without=without, progress=progress, stopping=stopping
        )

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
        self._plain.compare(
            namespace, backup_id, tree, covered=covered, progress=progress, stopping=stopping
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
        key = self._key(namespace)
        if key is None:
            self._plain.restore_image(
                namespace, backup_id, image, blank=blank, progress=progress, stopping=stopping
            )
            return
        job = self._job("restore", key, backup_id, [image]) | {"blank": blank}
        self._run(namespace, job, _of_one(image, progress), stopping)

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
        key = self._key(namespace)
        if key is None:
            self._plain.compare_image(
                namespace, backup_id, image, progress=progress, stopping=stopping
            )
            return
        job = self._job("compare", key, backup_id, [image])
        self._run(namespace, job, _of_one(image, progress), stopping)

    def _key(self, namespace: MountNamespace) -> Mapping[str, Any] | None:
        """The master key; None if the repository is none for this mover.

        :raises PasswordError: the password is wrong
        """
        with self._guard:
            if not self._looked:
                key = self._read_key() if self._program.settings.local_path else None
                if key is not None:
                    job = self._job("look", key, "", [])
                    found = self._run(namespace, job, lambda _: None, threading.Event())
                    if not found["native"]:
                        LOG.info(
                            "The repository %s is of an old version, so images take longer.",
                            self._program.location,
                        )
                        key = None
                self._known_key, self._looked = key, True
            return self._known_key

    def _read_key(self) -> Mapping[str, Any]:
        # Through a pipe, which leaves nothing on a disk.
        text = "".join(self._program.lines("cat", "masterkey", "--no-lock"))
        key: Mapping[str, Any] = json.loads(text)
        return key

    def _job(
        self, action: str, key: Mapping[str, Any], snapshot: str, images: Sequence[RawImage]
    ) -> dict[str, Any]:
        return {
            "action": action,
            "repository": str(self._program.settings.local_path),
            "key": key,
            "snapshot": snapshot,
            "images": [
                {
                    "path": str(image.path),
                    "device": image.device,
                    "start": image.start,
                    "size": image.size,
                }
                for image in images
            ],
        }

    def _run(
        self,
        namespace: MountNamespace,
        job: Mapping[str, Any],
        progress: Callable[[int], None],
        stopping: threading.Event,
    ) -> Mapping[str, Any]:
        """Do a job in a process of its own; returns its summary.

        :raises StoppedError: ``stopping`` was set
        :raises VolflowError: it failed
        """
        watch = StallGuard(stopping, self._program.settings.stall_limit)
        if watch.stopped:
            raise StoppedError("The images were not copied: the run is to stop.")
        said: dict[str, Any] = {}
        process = namespace.start(*_PROGRAM, gentle=True, stdin=json.dumps(job))

        def look() -> None:
            if watch.over:
                process.end()

        with process:
            process.note(sys.executable)
            for line in process.records(b"\n", look):
                message = json.loads(line)
                if "done" in message:
                    watch.at(message["done"])
                    progress(message["done"])
                else:
                    said.update(message)
            status = process.wait(look)
            if status == 0 and "summary" in said:
                summary: Mapping[str, Any] = said["summary"]
                return summary
            raise self._error(job["action"], status, said.get("error"), process, watch)

    def _error(
        self,
        action: str,
        status: int,
        error: Mapping[str, Any] | None,
        process: Program,
        watch: StallGuard,
    ) -> VolflowError:
        """What a failure of the program means."""
        if watch.stopped:
            return StoppedError("The copy of images was stopped.")
        if watch.stalled:
            return RepositoryError(
                "The copy of images was ended after "
                f"{self._program.settings.stall_limit:g} s without progress; check whether the "
                f"volume's storage and {self._program.location} answer, or raise stall_limit in "
                "[repository]."
            )
        if error is None:
            said = process.said().strip().rpartition("\n")[2]
            return HostError(
                f"The program that copies images ('{action}') failed with exit status {status}: "
                f"{said or 'it said nothing'}"
            )
        if error["errno"]:
            return self._of_repository(error["message"])
        kind: type[VolflowError] = getattr(errors, error["kind"], RepositoryError)
        return kind(error["message"])

    def _of_repository(self, said: str) -> RepositoryError:
        """What is wrong with the directory of the repository."""
        path = self._program.settings.local_path
        assert path is not None
        rooms = full.look(self._program.privilege, [path])
        why = next(filter(None, (room.problem(STORES_WITH) for room in rooms)), "")
        return RepositoryError(
            f"The repository {path} {why or 'cannot be read or written'}. The system said: {said}"
        )


def _of_one(image: RawImage, progress: Callable[[CopyProgress], None]) -> Callable[[int], None]:
    return lambda done: progress(CopyProgress(0, 1, done, image.size))
