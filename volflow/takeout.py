"""A backup without a cloud: its files in a directory, or in a disk image."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from volflow.disk import holes
from volflow.errors import HostError, RepositoryError, UsageError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege, find_program
from volflow.manifest import Manifest, Region
from volflow.movers.base import Mover, Stored
from volflow.progress import Progress
from volflow.stop import Stop
from volflow.tasks.mount import REGION

LOG = logging.getLogger(__name__)


class Takeout:
    """Takes one backup out of the repository, with neither Cinder nor the state database.

    :param mount_root: the directory over which a namespace mounts its own tmpfs
    """

    def __init__(
        self,
        backup: Stored,
        manifest: Manifest,
        mover: Mover,
        privilege: Privilege,
        mount_root: Path,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self._backup = backup
        self._manifest = manifest
        self._mover = mover
        self._privilege = privilege
        self._mount_root = mount_root
        self._progress = progress
        self._stop = stop

    @property
    def _region(self) -> Region:
        return self._manifest.regions[0]

    def to_directory(
        self, directory: Path, paths: Sequence[str] = (), *, verify: bool = False
    ) -> None:
        """Write the files, or some of them, into a directory, with all their metadata.

        The directory must be new or empty: a link that is there already could lead out of it.

        :param paths: paths in the volume; all unless given
        :raises UsageError: the directory is not empty, or a path leads out of the volume
        :raises RepositoryError: the backup has no such path
        """
        inside = [_inside(path) for path in paths]
        directory = directory.absolute()
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UsageError(f"{directory} is there and is no empty directory; name a new one.")
        directory.mkdir(parents=True, exist_ok=True)
        with self._namespace() as namespace:
            place = namespace.root / REGION
            namespace.run("mkdir", "--parents", "--mode=0700", place)
            namespace.run("mount", "--bind", directory, place)
            self._fill(namespace, [REGION / path for path in inside] or [REGION], verify)
            for path in inside:
                if self._privilege.attempt("test", "-e", str(directory / path)).returncode and (
                    self._privilege.attempt("test", "-L", str(directory / path)).returncode
                ):
                    raise RepositoryError(f"The backup holds no '/{path}'.")

    def to_image(self, image: Path, *, verify: bool = False) -> None:
        """Write the file system into a disk image of the volume's size.

        :param image: a new file; one that ends with .qcow2 becomes an image of that format
        :raises UsageError: it is there already
        :raises HostError: qemu-img is not installed, for qcow2
        """
        image = image.absolute()
        if image.exists():
            raise UsageError(f"{image} is there already; name a new file.")
        qcow2 = image.suffix == ".qcow2"
        if qcow2 and find_program("qemu-img") is None:
            raise HostError("qemu-img is not installed: install the package 'qemu-utils'.")
        raw = image.with_name(image.name + ".raw") if qcow2 else image
        try:
            with raw.open("xb") as file:
                file.truncate(self._region.size)
            raw.chmod(0o600)
            self._region.file_system.make(self._privilege, str(raw))
            with self._namespace() as namespace:
                place = namespace.root / REGION
                options = self._region.file_system.mount_options(read_only=False)
                namespace.mount(str(raw), place, self._region.file_system.type, ["loop", *options])
                self._fill(namespace, [REGION], verify)
                namespace.unmount()
            if qcow2:
                self._privilege.run(
                    "qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)
                )
        except BaseException:
            image.unlink(missing_ok=True)
            raise
        finally:
            if qcow2:
                raw.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _namespace(self) -> Iterator[MountNamespace]:
        namespace = MountNamespace(self._privilege, self._mount_root)
        try:
            yield namespace
        finally:
            namespace.close()

    def _fill(self, namespace: MountNamespace, paths: Sequence[Path], verify: bool) -> None:
        volume_id = self._manifest.volume_id
        self._progress.planned("", {volume_id: str(self._manifest.volume["name"] or "")})
        self._progress.step(volume_id, "copy", "RUNNING")
        self._mover.restore(
            namespace,
            self._backup.id,
            paths=paths,
            verify=verify,
            progress=lambda copied: self._progress.copied(volume_id, copied),
            stopping=self._stop.event,
        )
        if self._region.sparse:
            namespace.run(
                *(sys.executable, "-I", "-S", holes.__file__, "punch", namespace.root / REGION),
                stdin=json.dumps(self._region.sparse),
            )


def _inside(path: str) -> Path:
    """A path in the volume, without its leading slash.

    :raises UsageError: it leads out of the volume, or names the volume itself
    """
    parts = Path(path.lstrip("/")).parts
    if not parts or ".." in parts:
        raise UsageError(f"'{path}' is no path in the volume.")
    return Path(*parts)
