"""A minimal repository and mover that keep everything in memory."""

from __future__ import annotations

import os
import stat
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.support.memory_files import (
    Entry,
    Files,
    check,
    compared,
    read,
    set_xattrs,
    walk,
    write,
)
from tests.support.memory_images import compare_image, read_image, write_image
from tests.support.namespaces import visible
from volflow.errors import (
    BackupNotFoundError,
    HostError,
    NoRepositoryError,
    PasswordError,
    RepositoryError,
    StoppedError,
)
from volflow.host.identity import Process
from volflow.host.namespace import MountNamespace
from volflow.movers.base import (
    ATTRIBUTES,
    MANIFEST,
    Change,
    MountedTree,
    Node,
    RawImage,
    Saved,
    ServedBackup,
    StoredPath,
)
from volflow.movers.base import StoredBackup as Listed
from volflow.movers.verdicts import Listing, tags_of_copy, tags_of_note, tags_of_verdict
from volflow.results.outcome import CopyProgress, Figures


@dataclass
class Storage:
    """Data that outlives a repository object: its backups, by id, and its locks, by process."""

    password: str | None = None
    backups: dict[str, tuple[Listed, Files]] = field(default_factory=dict)
    # Removed backups that are not yet pruned.
    removed: list[Files] = field(default_factory=list)
    locks: set[int] = field(default_factory=set)
    read_only: bool = False

    def listing(self) -> Listing:
        return Listing(tuple(listed for listed, _ in self.backups.values()))

    def add(self, tags: Mapping[str, str], files: Files) -> str:
        listed = Listed(uuid.uuid4().hex * 2, datetime.now(UTC), dict(tags))
        self.backups[listed.id] = (listed, files)
        return listed.id

    def remove(self, ids: Iterable[str]) -> None:
        for one in ids:
            if one in self.backups:
                self.removed.append(self.backups.pop(one)[1])


class MemoryRepository:
    """A repository in memory."""

    location = "memory:"
    local_path = None
    version = "1"

    def __init__(self, storage: Storage, password: str) -> None:
        self.storage, self._password = storage, password

    def check(self) -> None:
        """Do nothing: this repository has no requirements."""

    def init(self) -> None:
        if self.exists():
            raise RepositoryError("There is a repository already.")
        self.storage.password = self._password

    def exists(self) -> bool:
        return self.storage.password is not None

    def opened(self) -> Storage:
        if self.storage.password is None:
            raise NoRepositoryError("There is no repository.")
        if self.storage.password != self._password:
            raise PasswordError("The password is wrong.")
        return self.storage

    def files(self, backup_id: str) -> Files:
        try:
            return self.opened().backups[backup_id][1]
        except KeyError:
            raise BackupNotFoundError(f"There is no backup {backup_id}.") from None

    def check_writable(self) -> None:
        if self.opened().read_only:
            raise RepositoryError("The repository cannot be written to.")

    def backups(self) -> Sequence[Listed]:
        return self.opened().listing().backups

    def holds(self, backup: Listed) -> bool:
        return {backup.id, backup.verdict_id} <= set(self.opened().backups)

    def manifest(self, backup_id: str) -> str:
        return self.files(backup_id)[f"/{MANIFEST}"].content.decode()

    def forget(self, backup_id: str) -> None:
        self.check_writable()
        storage = self.opened()
        storage.remove([*storage.listing().family(backup_id), backup_id])

    def prune(self, abandoned: Callable[[Listed], bool] = lambda _: False) -> str:
        self.check_writable()
        storage = self.opened()
        if storage.locks:
            raise RepositoryError("The repository is locked.")
        storage.remove(storage.listing().useless(abandoned))
        freed = len(storage.removed)
        storage.removed.clear()
        return f"{freed} backups freed"

    def note_gone(self, volume_id: str, *, run_id: str, project_id: str) -> None:
        self.check_writable()
        self.opened().add(tags_of_note(run_id, volume_id, project_id), {})

    def check_data(self, percent: float = 0.0) -> str:
        for _, files in self.opened().backups.values():
            check(files.values() if percent else ())
        return "no errors were found"

    def unlock(self, owners: Sequence[Process] = (), others: Sequence[Process] = ()) -> None:
        locks = self.opened().locks
        dead = {owner.pid for owner in owners if owner.has_ended()}
        locks.difference_update(dead)

    def nodes(self, backup_id: str, path: Path, *, recursive: bool = False) -> Sequence[Node]:
        return [
            _node(name, entry)
            for name, entry in _below(self.files(backup_id), path).items()
            if recursive or os.path.dirname(name) == f"/{path}" or name == f"/{path}"
        ]

    def size(self, backup_id: str) -> int:
        return sum(len(entry.content) for entry in self.files(backup_id).values())

    def changes(self, old_id: str, new_id: str, *, metadata: bool = False) -> Iterator[Change]:
        old, new = self.files(old_id), self.files(new_id)
        for path in sorted(old.keys() | new.keys()):
            if path not in old or path not in new:
                yield Change(path, "added" if path in new else "removed")
            elif (old[path].type, old[path].content) != (new[path].type, new[path].content):
                yield Change(path, "changed")
            elif metadata and old[path].metadata != new[path].metadata:
                yield Change(path, "metadata")

    def read_all(self, backup_id: str, path: Path) -> int:
        return check(_below(self.files(backup_id), path).values())

    @contextmanager
    def mounted(self, backup_id: str, mount_point: Path) -> Iterator[ServedBackup]:
        made = []
        for name, entry in self.files(backup_id).items():
            place = Path(f"{mount_point}{name}")
            place.parent.mkdir(parents=True, exist_ok=True)
            if entry.type == "file":
                place.write_bytes(entry.content)
                made.append(place)
        try:
            yield ServedBackup(mount_point, ended=lambda: False)
        finally:
            for place in made:
                place.unlink()
            for directory, _, _ in os.walk(mount_point, topdown=False):
                if Path(directory) != mount_point:
                    os.rmdir(directory)


class MemoryMover:
    """Copies between a namespace and memory."""

    restores_holes = True

    def __init__(self, repository: MemoryRepository) -> None:
        self._repository = repository

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
        before = self._repository.files(parent_id) if parent_id else {}
        files: Files = {}
        unread = []
        figures = Figures()
        with visible(namespace) as root:
            for region in regions:
                image = region if isinstance(region, RawImage) else None
                without = () if isinstance(region, RawImage) else region.without
                for name in [""] if image else walk(root / region.path, without):
                    _unless(stopping)
                    path = f"/{region.path}{name}"
                    try:
                        if image:
                            files[path] = read_image(image)
                            known = before.get(path)
                            fresh = not known or known.checksum != files[path].checksum
                        else:
                            files[path], fresh = read(f"{root}{path}", before.get(path))
                    except OSError:
                        unread.append(path.lstrip("/"))
                        continue
                    if not region.path.is_relative_to(ATTRIBUTES):
                        figures = _counted(figures, files[path], path in before, fresh)
                    progress(CopyProgress(figures.files_total, 0, figures.bytes_total, 0))
            files[f"/{MANIFEST}"], _ = read(f"{root}/{MANIFEST}", None)
        copy_id = self._repository.opened().add(tags_of_copy(tags), files)
        return Saved(copy_id, figures, tuple(unread))

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
        _unless(stopping)
        with visible(namespace) as root:
            manifest, _ = read(f"{root}/{MANIFEST}", None)
        verdict = tags_of_verdict(copy_id, {**tags, "volume": volume_id})
        self._repository.opened().add(verdict, {f"/{MANIFEST}": manifest})
        return False

    def paths(self, backup_id: str, tree: Path) -> Iterator[StoredPath]:
        for name, entry in _below(self._repository.files(backup_id), tree).items():
            modified = entry.status.st_mtime_ns // 1000
            path = name.removeprefix(f"/{tree}").lstrip("/")
            yield StoredPath(path, entry.type == "dir", modified)

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
        files = self._repository.files(backup_id)
        left = {name for path in without for name in _below(files, path)}
        wanted = {
            name: entry
            for path in paths
            for name, entry in _below(files, path).items()
            if name not in left
        }
        first: dict[tuple[int, int], str] = {}
        with visible(namespace) as root:
            for count, (name, entry) in enumerate(wanted.items(), 1):
                _unless(stopping)
                os.makedirs(os.path.dirname(f"{root}{name}"), exist_ok=True)
                same = first.setdefault(entry.inode, name)
                if same != name and entry.type != "dir":
                    os.link(f"{root}{same}", f"{root}{name}", follow_symlinks=False)
                else:
                    write(f"{root}{name}", entry)
                progress(CopyProgress(files=count))
            # New files inherit a directory's ACL and change its time, so both are set last.
            for name, entry in reversed(wanted.items()):
                if entry.type == "dir":
                    set_xattrs(f"{root}{name}", entry)
                times = (entry.status.st_atime_ns, entry.status.st_mtime_ns)
                os.utime(f"{root}{name}", ns=times, follow_symlinks=False)

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
        stored = _below(self._repository.files(backup_id), tree)
        found: Files = {}
        with visible(namespace) as root:
            for name in walk(root / tree):
                _unless(stopping)
                found[f"/{tree}{name}"], _ = read(f"{root}/{tree}{name}", None)
                progress(CopyProgress(files=len(found)))
        differing = [
            name.removeprefix(f"/{tree}")
            for name in sorted(stored.keys() | found.keys())
            if compared(stored.get(name)) != compared(found.get(name))
            and (covered is None or covered(name.removeprefix(f"/{tree}").lstrip("/")))
        ]
        if differing:
            raise HostError(f"It differs from what is stored: {', '.join(differing)}.")

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
        _unless(stopping)
        write_image(image, self._image(backup_id, image), blank=blank)
        progress(CopyProgress(1, 1, image.size, image.size))

    def compare_image(
        self,
        namespace: MountNamespace,
        backup_id: str,
        image: RawImage,
        *,
        progress: Callable[[CopyProgress], None],
        stopping: threading.Event,
    ) -> None:
        _unless(stopping)
        compare_image(image, self._image(backup_id, image))
        progress(CopyProgress(1, 1, image.size, image.size))

    def _image(self, backup_id: str, image: RawImage) -> Entry:
        try:
            return self._repository.files(backup_id)[f"/{image.path}"]
        except KeyError:
            raise RepositoryError(f"The backup has no {image.path}.") from None


def _below(files: Files, path: Path) -> Files:
    return {
        name: entry
        for name, entry in files.items()
        if name == f"/{path}" or name.startswith(f"/{path}/")
    }


def _counted(figures: Figures, entry: Entry, known: bool, read: bool) -> Figures:
    if entry.type == "dir":
        return figures
    size = len(entry.content)
    return replace(
        figures,
        files_new=figures.files_new + (not known),
        files_changed=figures.files_changed + (known and read),
        files_unmodified=figures.files_unmodified + (known and not read),
        bytes_total=figures.bytes_total + size,
        bytes_stored=figures.bytes_stored + size * read,
    )


def _unless(stopping: threading.Event) -> None:
    if stopping.is_set():
        raise StoppedError("It was stopped.")


def _node(name: str, entry: Entry) -> Node:
    status = entry.status
    return Node(
        path=name,
        type=entry.type,
        permissions=stat.filemode(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if entry.type == "file" else 0,
        modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
    )
