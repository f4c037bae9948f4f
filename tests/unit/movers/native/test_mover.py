"""The mover stores trees with restic, and images without it, as one backup."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support import restic
from tests.support.native_images import sample
from volflow.errors import HostError, PasswordError, RepositoryError, StoppedError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.movers.base import MANIFEST, MountedTree, RawImage, Saved
from volflow.movers.native import mover as native
from volflow.movers.native.mover import NativeMover
from volflow.movers.restic.mover import ResticMover
from volflow.movers.restic.repository import ResticRepository
from volflow.results.outcome import CopyProgress

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("restic") is None,
        reason="a namespace needs root, and restic",
    ),
    pytest.mark.heavy,
]
VOLUME = "6f3a9d2e-0000-4000-8000-000000000001"
TAGS = {"volume": VOLUME, "run": "run-1", "name": "a volume", "taken": "2026-11-01T12:00:00Z"}
TAKEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
TREE = MountedTree(Path("regions/0"))


class Site:
    """A repository, a namespace and a mover."""

    def __init__(self, directory: Path, namespace: MountNamespace) -> None:
        self.directory, self.namespace = directory, namespace
        self.program = restic.program(directory)
        self.repository = ResticRepository(self.program)
        self.mover = self.new_mover()
        self.progress: list[CopyProgress] = []
        tree = directory / "tree"
        tree.mkdir()
        (tree / "file").write_text("content\n")
        namespace.bind(tree, namespace.root / TREE.path)
        namespace.write(namespace.root / MANIFEST, "{}")

    def new_mover(self, **options: object) -> NativeMover:
        program = restic.program(self.directory, **options)
        return NativeMover(ResticMover(program), program, self.directory / "maps")

    def save(self, *regions: MountedTree | RawImage, parent: str | None = None) -> Saved:
        return self.mover.save(
            self.namespace,
            regions,
            volume_id=VOLUME,
            tags=TAGS,
            listed_at=TAKEN,
            parent_id=parent,
            progress=self.progress.append,
            stopping=threading.Event(),
        )

    def image(self, content: bytes, name: str = "2.img") -> RawImage:
        path = self.directory / f"device-{name}"
        path.write_bytes(content)
        return RawImage(Path("regions", name), str(path), 0, len(content))

    def copy(self, how: str, backup: str, image: RawImage, **more: Any) -> None:
        getattr(self.mover, f"{how}_image")(
            self.namespace,
            backup,
            image,
            progress=self.progress.append,
            stopping=threading.Event(),
            **more,
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    ResticRepository(restic.program(tmp_path)).init()
    (tmp_path / "mount").mkdir()
    namespace = MountNamespace(Privilege(), tmp_path / "mount")
    try:
        yield Site(tmp_path, namespace)
    finally:
        namespace.close()


def test_trees_and_images_are_one_backup(site: Site) -> None:
    content = sample(60)
    image = site.image(content)
    saved = site.save(TREE, image)
    (stored,) = site.repository.backups()
    assert stored.id == saved.id
    assert not stored.finished
    assert {key: stored.tags[key] for key in TAGS} == TAGS
    listed = {
        node.path: node.size for node in site.repository.nodes(saved.id, Path("."), recursive=True)
    }
    assert listed["/regions/2.img"] == len(content)
    assert listed["/regions/0/file"] == 8
    assert (saved.figures.files_new, saved.figures.bytes_total) == (2, len(content) + 8)
    assert site.progress[-1].bytes == site.progress[-1].bytes_total == len(content) + 8
    site.mover.confirm(
        site.namespace,
        saved.id,
        volume_id=VOLUME,
        tags=TAGS,
        listed_at=TAKEN,
        stopping=threading.Event(),
    )
    (stored,) = site.repository.backups()
    assert stored.finished
    assert stored.taken_at == TAKEN
    site.repository.check_data(100)


def test_an_unchanged_image_counts_as_such(site: Site) -> None:
    image = site.image(sample(61))
    first = site.save(TREE, image)
    site.namespace.write(site.namespace.root / MANIFEST, '{"number": 2}')
    again = site.save(TREE, image, parent=first.id).figures
    assert (again.files_new, again.files_changed, again.files_unmodified) == (0, 0, 2)
    assert list((site.directory / "maps" / VOLUME).iterdir())


def test_an_image_comes_back_and_is_compared(site: Site) -> None:
    content = sample(62)
    image = site.image(content)
    saved = site.save(image)
    path = Path(image.device)
    path.write_bytes(b"\xff" * len(content))
    site.copy("restore", saved.id, image, blank=False)
    assert path.read_bytes() == content
    site.copy("compare", saved.id, image)
    path.write_bytes(content[:-1] + b"\xff")
    with pytest.raises(HostError, match=f"byte {len(content) - 1:,} of the region"):
        site.copy("compare", saved.id, image)


def test_a_copy_whose_image_failed_is_gone(site: Site) -> None:
    image = site.image(b"data" * 1000)
    Path(image.device).unlink()
    with pytest.raises(HostError, match="cannot be opened"):
        site.save(TREE, image)
    assert site.repository.backups() == []


def test_a_stopped_copy_leaves_no_lock(site: Site) -> None:
    stopping = threading.Event()
    image = site.image(os.urandom(64 * 2**20))

    def progress(copied: CopyProgress) -> None:
        if copied.bytes_total == copied.files_total == 0:
            return
        stopping.set()

    with pytest.raises(StoppedError):
        site.mover.save(
            site.namespace,
            [image],
            volume_id=VOLUME,
            tags=TAGS,
            listed_at=TAKEN,
            parent_id=None,
            progress=progress,
            stopping=stopping,
        )
    assert site.program.run("list", "locks", "--no-lock") == ""
    assert site.repository.backups() == []


def test_the_key_stands_on_no_command_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    key = json.loads(site.program.run("cat", "masterkey"))
    seen: list[str] = []
    start = subprocess.Popen

    def noting(argv: list[str], **options: Any) -> Any:
        seen.append(f"{argv} {options.get('env')}")
        return start(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", noting)
    site.save(site.image(b"data"))
    assert any(native._PROGRAM[-1] in one for one in seen)
    assert not any(key["encrypt"] in one or key["mac"]["r"] in one for one in seen)


def test_a_wrong_password_is_told_as_such(site: Site) -> None:
    wrong = site.directory / "wrong"
    wrong.write_text("another")
    site.mover = site.new_mover(password_file=str(wrong))
    with pytest.raises(PasswordError):
        site.save(site.image(b"data"))


def test_a_repository_that_is_full_is_told_as_such(tmp_path: Path) -> None:
    small, mount = tmp_path / "repository", tmp_path / "mount"
    small.mkdir()
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], check=True)
    try:
        ResticRepository(restic.program(tmp_path)).init()
        namespace = MountNamespace(Privilege(), mount)
        try:
            site = Site(tmp_path, namespace)
            with pytest.raises(RepositoryError, match="is full"):
                site.save(site.image(os.urandom(32 * 2**20)))
        finally:
            namespace.close()
        assert list((small / "locks").iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_repository_of_version_1_is_left_to_the_other_mover(site: Site) -> None:
    shutil.rmtree(site.directory / "repository")
    site.program.run("init", "--repository-version", "1")
    assert site.mover._key(site.namespace) is None
