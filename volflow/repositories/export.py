"""Writes a backup to a directory or a disk image, without a cloud."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from volflow.disk import boot_sector, capacity, durable, full, sparse, special
from volflow.disk.filesystem import Differences, FileSystem
from volflow.disk.layout import Role
from volflow.disk.regions import DiskRegion, mapped
from volflow.disk.rehearsal import Rehearsal
from volflow.errors import FullError, HostError, UsageError
from volflow.host.devices import nearest_existing
from volflow.host.host import Host
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege, find_program
from volflow.host.program import undisturbed
from volflow.movers.base import Mover, Node, StoredBackup
from volflow.observers.progress import Observer
from volflow.repositories.attributes import Kept, not_set
from volflow.repositories.contents import BackupContents
from volflow.repositories.images import image_of, restored_images
from volflow.repositories.manifest import Manifest, sparse_files_fit
from volflow.results.outcome import CopyProgress
from volflow.stop import Stop

LOG = logging.getLogger(__name__)


class Exporter:
    """Writes one backup to a directory or a disk image. Needs no Cinder and no state database."""

    def __init__(
        self,
        backup: StoredBackup,
        manifest: Manifest,
        mover: Mover,
        contents: BackupContents,
        host: Host,
        rehearsal: Rehearsal,
        observer: Observer,
        stop: Stop,
    ) -> None:
        self._backup = backup
        self._manifest = manifest
        self._mover = mover
        self._contents = contents
        self._host = host
        self._rehearsal = rehearsal
        self._observer = observer
        self._stop = stop

    def unread(self, paths: Sequence[str] = ()) -> tuple[str, ...]:
        """The files and directories that could not be read and are not in the backup.

        :param paths: only what is below these paths in the volume; all unless given
        """
        below = [self._manifest.below_root(path) for path in paths]
        return self._manifest.unread_of([str(_inside(path)) for path in below] or ["/"])

    def to_directory(
        self, directory: Path, paths: Sequence[str] = (), *, verify: bool = False
    ) -> None:
        """Write the files, or some of them, into a directory, with all their metadata.

        The directory must be new or empty: an existing link could lead out of it. Only its owner
        gets access, because files in it may run as root. So the directory does not get the owner
        and mode of the volume's root: see :meth:`root`. The files appear when all are complete.

        :param paths: paths in the volume; all unless given
        :param verify: compare the result with the repository; only if all is written
        :raises UsageError: the directory is not empty, or a path leads out of the volume
        :raises RepositoryError: the backup has no such path; then nothing is written
        """
        inside = [_inside(self._manifest.below_root(path)) for path in paths]
        directory = directory.absolute()
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UsageError(f"{directory} is not an empty directory; name a new one.")
        sparse_files_fit(
            self._manifest,
            restores_holes=self._mover.restores_holes,
            room=shutil.disk_usage(nearest_existing(directory)).free,
        )
        for path in inside:
            self._contents.node(str(path))
        full.needs(directory, self._bytes(inside))
        with _directory(directory):
            self._write_files(directory, inside, verify=verify)

    def _write_files(self, directory: Path, inside: Sequence[Path], *, verify: bool) -> None:
        privilege = self._host.privilege
        with full.told(directory, directory):
            privilege.run("chmod", "0700", str(directory))
        # This directory gets the owner and mode of the volume's root.
        filled = directory / f".volflow-{self._backup.id[:8]}-{time.time_ns()}"
        names: set[bytes] = set()
        try:
            # The files are removed last: the file system is full as long as they are there.
            with full.told(directory, directory):
                filled.mkdir(mode=0o700)
                with self._namespace() as namespace:
                    root = self._manifest.root
                    namespace.bind(filled, namespace.root / root)
                    self._fill(namespace, [root / path for path in inside] or [root])
                    durable.settle(namespace, namespace.root / root)
                    if verify and not inside:
                        self._compare(namespace)
                names = self._names(filled)
                each = ("find", str(filled), "-mindepth", "1", "-maxdepth", "1")
                move = ("mv", "--no-clobber", "--target-directory", str(directory), "{}", "+")
                privilege.run(*each, "-exec", *move)
                # It is not empty if somebody else has made a file of the same name meanwhile.
                privilege.run("rmdir", str(filled))
                durable.settle(privilege, directory)
        except BaseException:
            with undisturbed():
                moved = names - self._names(filled) if names else set()
                self._remove([filled, *(directory / os.fsdecode(one) for one in moved)])
            raise

    def _names(self, directory: Path) -> set[bytes]:
        """The names in a directory; none if it does not exist."""
        if not directory.exists():
            return set()
        find = ("find", str(directory), "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\0")
        return set(self._host.privilege.records(*find))

    def _remove(self, paths: Sequence[Path]) -> None:
        command = ("xargs", "--null", "rm", "--recursive", "--force", "--one-file-system", "--")
        text = "\0".join(map(str, paths))
        done = self._host.privilege.attempt(*command, stdin=text)
        if done.returncode:
            LOG.warning("Not all temporary files could be removed: %s", done.stderr.strip())

    def _bytes(self, paths: Sequence[Path] = ()) -> int:
        """The bytes that the files of these paths take at least; of the whole backup by default."""
        in_files = [region.used.in_files for region in self._manifest.trees]
        if not paths and all(in_files) and not self._manifest.images:
            return sum(in_files)
        # Older backups do not say it.
        holes: dict[str, int] = {}
        for region in self._manifest.regions if self._mover.restores_holes else ():
            for path, one in region.sparse.items():
                where = self._manifest.in_volume(f"{region.path}/{path}")
                holes[where] = one["size"] - sum(length for _, length in one["data"])
        if not paths:
            return max(0, self._contents.size() - sum(holes.values()))
        # The names of one file have the same size and time: it counts once.
        found = {
            (node.size, node.modified_at, node.uid, node.gid): max(
                0, node.size - holes.get(node.path, 0)
            )
            for path in paths
            for node in self._contents.list(str(path), recursive=True)
            if node.type == "file"
        }
        return sum(found.values())

    def root(self) -> Node:
        """The metadata of the root of the volume."""
        return self._contents.node()

    def to_image(self, image: Path, *, verify: bool = False) -> Differences:
        """Write the volume into a disk image of its size, with all that was on it.

        The image gets its name when it is complete.

        :param image: a new file; with the suffix .qcow2 it becomes a qcow2 image
        :returns: how its file systems differ from those in the backup
        :raises DiskError: this host cannot create that file system, or its files do not fit
        :raises UsageError: it exists
        :raises HostError: qemu-img is not installed, for qcow2
        """
        image = image.absolute()
        if image.exists():
            raise UsageError(f"{image} exists already; name a new file.")
        qcow2 = image.suffix == ".qcow2"
        if qcow2 and find_program("qemu-img") is None:
            raise HostError("qemu-img is not installed: install the package 'qemu-utils'.")
        sparse_files_fit(self._manifest, restores_holes=self._mover.restores_holes)
        # A qcow2 image is written while the raw one is still there.
        full.needs(image, self._bytes() * (2 if qcow2 else 1))
        with _directory(image.parent):
            return self._write_image(image, qcow2=qcow2, verify=verify)

    def _write_image(self, image: Path, *, qcow2: bool, verify: bool) -> Differences:
        raw, done = (image.with_name(f".{image.name}.{part}") for part in ("raw", "done"))
        try:
            # The parts are removed last: the file system is full as long as they are there.
            with full.told(image, image.parent):
                # A killed process may have left these files.
                for part in (raw, done):
                    part.unlink(missing_ok=True)
                with durable.new_file(raw):
                    os.truncate(raw, sum(region.size for region in self._manifest.regions))
                    differences = self._fill_image(raw, verify=verify)
                if qcow2:
                    # Created here, because everybody could read a file that qemu-img creates.
                    with durable.new_file(done):
                        command = ("convert", "-f", "raw", "-O", "qcow2", str(raw), str(done))
                        Privilege(helper="", stopping=self._stop.event).run("qemu-img", *command)
                (done if qcow2 else raw).rename(image)
                self._settle(image)
                return differences
        finally:
            for part in (raw, done):
                try:
                    part.unlink(missing_ok=True)
                except OSError as error:
                    # The reason of the failure matters more.
                    LOG.warning("%s could not be removed: %s", part, error)

    def _settle(self, image: Path) -> None:
        """Make an image durable under its name; without that, it does not keep it."""
        try:
            durable.settle(Privilege(helper="", stopping=self._stop.event), image, image.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                image.unlink(missing_ok=True)
            raise

    def _fill_image(self, raw: Path, *, verify: bool) -> Differences:
        """Make the file systems in an empty file, and write the files and images into it."""
        watch, disk = full.Watch(raw.parent), self._manifest.disk
        made: dict[int, FileSystem] = {}
        with (
            mapped(
                *(self._host.privilege, str(raw), disk.trees),
                read_only=False,
                sector_size=disk.sector_size,
            ) as maps,
            # It ends first: what is mounted in it holds the loop devices.
            self._namespace() as namespace,
        ):
            for region in disk.trees:
                made[region.number] = self._make(namespace, region, maps.of(region))
                _mount(namespace, maps.of(region), region, read_only=False)
                needed = self._manifest.regions[region.number].used
                capacity.require(needed, namespace, namespace.root / region.path)
            self._write_images(namespace, raw, verify=verify)
            kept = Kept(namespace, self._manifest.trees)
            paths = [*(region.path for region in disk.trees), *kept.paths()]
            self._fill(namespace, paths, look=watch.look)
            if said := not_set(kept.apply()):
                LOG.warning("%s", said)
            # What the kernel could not write behind the back of the copy is reported only here.
            durable.settle(namespace, *(namespace.root / region.path for region in disk.trees))
            namespace.unmount()
            for region in disk.trees:
                made[region.number].settle(namespace, maps.of(region))
                # Nothing reports what an unmount could not write; but then the journal is not
                # empty, and the kernel does not mount such a file system from a read-only device.
                _mount(namespace, maps.of(region), region, read_only=True)
            doubtful = watch.doubtful
            try:
                if verify or doubtful:
                    self._compare(namespace)
            except HostError as error:
                if doubtful:
                    raise FullError(f"The target is full. {error}", str(error)) from error
                raise
            namespace.unmount()
        differences: Differences = {}
        for region in disk.trees:
            assert region.file_system is not None
            of = "" if self._manifest.is_one_tree else f"{region}: "
            found = region.file_system.differences(made[region.number])
            differences |= {f"{of}{name}": values for name, values in found.items()}
        return differences

    def _make(self, namespace: MountNamespace, region: DiskRegion, device: str) -> FileSystem:
        """Make the file system of a region, and put back what precedes it."""
        assert region.file_system is not None
        size = region.file_system.size_on(region.size, was=region.size, grow=False)
        fit = self._rehearsal.fit(region.file_system, size)
        made = fit.file_system.make(namespace, device, size)
        if region.boot_sector:
            boot_sector.write(self._host.privilege, device, region.boot_sector)
        return made

    def _write_images(self, namespace: MountNamespace, raw: Path, *, verify: bool) -> None:
        with self._reporting("restore images") as progress:
            common: dict[str, Any] = {"progress": progress, "stopping": self._stop.event}
            for region in restored_images(self._manifest, raw.stat().st_size):
                image, backup_id = image_of(region, str(raw)), self._backup.id
                self._mover.restore_image(namespace, backup_id, image, blank=True, **common)
                if verify:
                    self._mover.compare_image(namespace, backup_id, image, **common)

    @contextlib.contextmanager
    def _namespace(self) -> Iterator[MountNamespace]:
        namespace = self._host.namespace()
        try:
            yield namespace
        finally:
            namespace.close()

    @contextlib.contextmanager
    def _reporting(self, step: str) -> Iterator[Callable[[CopyProgress], None]]:
        """Report a step to the observer; yields the function that takes its progress."""
        volume_id = self._manifest.volume_id
        self._observer.planned("", {volume_id: str(self._manifest.volume["name"] or "")})
        try:
            self._observer.step(volume_id, step, "RUNNING")
            yield lambda copied: self._observer.copied(volume_id, copied)
        finally:
            self._observer.over("", None)

    def _compare(self, namespace: MountNamespace) -> None:
        with self._reporting("verify") as progress:
            for region in self._manifest.trees:
                self._mover.compare(
                    namespace,
                    self._backup.id,
                    Path(region.path),
                    progress=progress,
                    stopping=self._stop.event,
                )

    def _fill(
        self,
        namespace: MountNamespace,
        paths: Sequence[Path],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """Write these paths.

        :param look: called every second or so
        """
        with self._reporting("copy") as progress:

            def tell(copied: CopyProgress) -> None:
                look()
                progress(copied)

            self._mover.restore(
                namespace,
                self._backup.id,
                paths,
                progress=tell,
                stopping=self._stop.event,
            )
        for region in self._manifest.trees:
            place = namespace.root / region.path
            within = Path(region.path)
            if not any(within.is_relative_to(one) or one.is_relative_to(within) for one in paths):
                continue
            sparse.shape(namespace, place, region.sparse)
            inside = {
                path: socket
                for path, socket in region.sockets.items()
                if any((Path(region.path) / path).is_relative_to(one) for one in paths)
            }
            special.make_sockets(namespace, place, inside)


def _mount(namespace: MountNamespace, device: str, region: DiskRegion, *, read_only: bool) -> None:
    kind = region.file_system
    assert kind is not None
    # One file system that fills the image has no loop device yet.
    loop = ["loop"] if region.part.role is Role.WHOLE else []
    options = [*loop, *kind.mount_options(read_only=read_only)]
    namespace.mount(device, namespace.root / region.path, kind.type, options)


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[None]:
    """Make a directory for the block; if the block fails, remove it unless it holds something."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    try:
        with full.told(path, nearest_existing(path)):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in new:
            try:
                each.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    LOG.warning("%s could not be removed: %s", each, error)
                break
        raise


def _inside(path: str) -> Path:
    """A path in the volume, without its leading slash.

    :raises UsageError: it leads out of the volume, or names the volume itself
    """
    parts = Path(path.lstrip("/")).parts
    if not parts or ".." in parts:
        raise UsageError(f"'{path}' is not a path in the volume.")
    return Path(*parts)
