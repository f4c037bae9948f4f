"""A restore to a file system that is full fails, names it, and leaves nothing."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import namespaces, repository, restic
from tests.support.cloud import in_a_namespace, run, unmount
from tests.support.saving import REGION, TAGS, save
from volflow import config
from volflow.disk.filesystem import FileSystem, probe
from volflow.disk.rehearsal import Rehearsal
from volflow.errors import FullError, HostError, VolflowError
from volflow.host.host import Host
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.movers.restic.mover import ResticMover
from volflow.movers.restic.repository import ResticRepository
from volflow.observers.progress import Observers
from volflow.repositories.contents import BackupContents
from volflow.repositories.export import Exporter
from volflow.repositories.manifest import Manifest, Region
from volflow.stop import Stop

MIB = 2**20
SIZE = 320 * MIB
DATA = 24 * MIB
RESERVED = 4 * MIB
BLOB = random.Random(1).randbytes(DATA)
VOLUME = "00000000-0000-4000-8000-000000000001"
OPTIONS = {"ext4": ["-F"], "xfs": ["-f"]}


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def exporter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """Exports the backup of a volume with a large file."""
    if why := namespaces.missing():
        pytest.skip(why)
    directory, kind = tmp_path_factory.mktemp(request.param), request.param
    image = directory / "volume"
    with open(image, "wb") as file:
        file.truncate(SIZE)
    run(f"mkfs.{kind}", "-q", *OPTIONS[kind], str(image))
    return _exported(directory, image, probe(Privilege(), str(image)))


def _exported(directory: Path, image: Path, kind: FileSystem) -> Exporter:
    repository.make(directory / "repository", "secret")
    program = restic.program(directory)
    manifest = Manifest(
        run_id="",
        volume={
            "id": VOLUME,
            "name": "n",
            "size": 1,
            "metadata": {},
            "volume_type": "",
            "availability_zone": "",
        },
        volume_type={},
        encryption={},
        group={},
        snapshot={"size": 1, "created_at": "2026-01-01T00:00:00"},
        regions=(Region(str(REGION), SIZE, kind),),
    )
    (directory / "mount").mkdir()
    namespace = MountNamespace(Privilege(), directory / "mount")
    try:
        options = ["loop", *kind.mount_options(read_only=False)]
        namespace.mount(str(image), namespace.root / REGION, kind.type, options)
        with namespaces.visible(namespace) as seen:
            (seen / REGION / "blob").write_bytes(BLOB)
        text = manifest.to_json()
        save(ResticMover(program), namespace, manifest=text, tags={**TAGS, "volume": VOLUME})
        namespace.unmount()
    finally:
        namespace.close()
    found = ResticRepository(program)
    (backup,) = found.backups()
    host = Host(config.load([]), lambda _: directory / "mount", threading.Event())
    contents = BackupContents(found, backup.id, manifest)
    mover = ResticMover(program)
    rehearsal = Rehearsal(host.namespace)
    return Exporter(backup, manifest, mover, contents, host, rehearsal, Observers([]), Stop())


@dataclass
class Place:
    """A small file system."""

    path: Path

    @property
    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bfree * found.f_frsize

    def keep(self, size: int) -> None:
        """Leave only this many bytes free."""
        with open(self.path / "filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free - size)

    def left(self) -> list[str]:
        ours = {"filler", "lost+found"}
        return sorted(each.name for each in self.path.iterdir() if each.name not in ours)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    path, image = tmp_path / "small", tmp_path / "image"
    path.mkdir()
    namespaces.new_image(image, SIZE)
    run("mount", "-o", "loop", str(image), str(path))
    try:
        yield Place(path)
    finally:
        unmount(path)


def _holds_all(image: Path) -> bool:
    """Whether an image holds the file."""

    def look() -> bool:
        point = image.parents[1] / "point"
        point.mkdir(exist_ok=True)
        run("mount", "-o", "loop,ro", str(image), str(point))
        try:
            return (point / "blob").read_bytes() == BLOB
        finally:
            run("umount", str(point))

    return in_a_namespace(look)


def _needed(exporter: Exporter, place: Place) -> int:
    """The bytes that an image needs."""
    free, image = place.free, place.path / "z.img"
    exporter.to_image(image)
    assert _holds_all(image)
    needed = free - place.free
    image.unlink()
    return needed


@pytest.mark.parametrize("name", ["z.img", "z.qcow2"])
@pytest.mark.parametrize("verify", [False, True], ids=["plain", "verify"])
def test_an_image_that_does_not_fit_is_not_left(
    exporter: Exporter, place: Place, name: str, verify: bool
) -> None:
    # There is room for the files, in each part of it, but not for the file system too.
    parts = 2 if name.endswith(".qcow2") else 1
    place.keep(parts * (DATA + _needed(exporter, place)) // 2)
    target = place.path / "new" / name
    with pytest.raises(FullError, match=f"{target} could not be written.* is full"):
        exporter.to_image(target, verify=verify)
    assert place.left() == []


def test_an_image_that_nearly_fits_is_complete_or_not_left(
    exporter: Exporter, place: Place
) -> None:
    """At the limit, a loop device takes a part of a write for all of it."""
    # ext4 keeps a part of what is free for itself.
    needed = _needed(exporter, place) + RESERVED
    for less in (0, 4, 128, 212, 216, 220, 224, 256):
        place.keep(needed - less * 1024)
        image = place.path / "z.img"
        try:
            exporter.to_image(image)
        except FullError:
            assert place.left() == []
        else:
            assert _holds_all(image)
            image.unlink()
        (place.path / "filler").unlink()


def test_a_target_without_room_is_refused_before_anything_is_made(
    exporter: Exporter, place: Place
) -> None:
    target = place.path / "new" / "below"
    once, twice = r"25,1\d\d,\d+", r"50,3\d\d,\d+"
    writes: list[tuple[Callable[[], object], int, str]] = [
        (lambda: exporter.to_directory(target), DATA // 2, once),
        (lambda: exporter.to_directory(target, ["/blob"]), DATA // 2, once),
        (lambda: exporter.to_image(target / "z.img"), DATA // 2, once),
        # A qcow2 image is written while the raw one is still there.
        (lambda: exporter.to_image(target / "z.qcow2"), 3 * DATA // 2, twice),
    ]
    for write, room, needed in writes:
        place.keep(room)
        with pytest.raises(
            FullError, match=rf"{target}.* needs {needed} bytes.*{place.free:,} bytes"
        ):
            write()
        assert place.left() == []
        (place.path / "filler").unlink()


def test_a_directory_that_becomes_too_small_is_named_and_not_left(
    exporter: Exporter, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.keep(DATA + RESERVED)
    restore = ResticMover.restore

    def meanwhile(self: ResticMover, *args: Any, **kwargs: Any) -> None:
        (place.path / "filler").unlink()
        place.keep(DATA // 2)
        restore(self, *args, **kwargs)

    monkeypatch.setattr(ResticMover, "restore", meanwhile)
    for paths in ([], ["/blob"]):
        target = place.path / "new" / "below"
        with pytest.raises(
            FullError, match=rf"{target} could not be written.* is full \(\d"
        ) as told:
            exporter.to_directory(target, paths)
        assert "repository" not in str(told.value)
        assert place.left() == []
        (place.path / "filler").unlink()
        place.keep(DATA + RESERVED)


@pytest.fixture
def thin(tmp_path: Path) -> Iterator[Path]:
    """A file system that shows more room than the device below it has."""
    below, path = tmp_path / "below", tmp_path / "thin"
    below.mkdir()
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={DATA // 2}", "tmpfs", str(below))
    namespaces.new_image(below / "image", SIZE)
    run("mount", "-o", "loop", str(below / "image"), str(path))
    try:
        yield path
    finally:
        unmount(path)
        # The loop device lets go of its file a moment later.
        unmount(below)


def test_a_directory_on_a_device_that_takes_no_more_is_no_success(
    exporter: Exporter, thin: Path
) -> None:
    """The kernel reports write errors only to a program that asks for them."""
    with pytest.raises(VolflowError, match=r"(could not be|Not everything could be) written"):
        exporter.to_directory(thin / "new")


def test_an_image_on_a_device_that_takes_no_more_is_no_success(
    exporter: Exporter, thin: Path
) -> None:
    with pytest.raises(VolflowError, match=r"(could not be|Not everything could be) written"):
        exporter.to_image(thin / "z.img")
    assert not (thin / "z.img").exists()


def test_a_target_without_inodes_is_named(exporter: Exporter, tmp_path: Path) -> None:
    path = tmp_path / "few"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "nr_inodes=3", "tmpfs", str(path))
    try:
        with pytest.raises(FullError, match=rf"{path}/x could not be written.* free inodes"):
            exporter.to_directory(path / "x")
        assert list(path.iterdir()) == []
    finally:
        run("umount", str(path))


def test_a_read_only_target_is_refused_by_name(exporter: Exporter, place: Place) -> None:
    there = place.path / "there"
    there.mkdir()
    run("mount", "-o", "remount,ro", str(place.path))
    for write in (
        lambda: exporter.to_directory(there),
        lambda: exporter.to_image(there / "z.img"),
    ):
        with pytest.raises(HostError, match=f"{there}.* read-only"):
            write()


def test_a_name_that_appears_meanwhile_is_kept_and_no_success(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, restore = tmp_path / "target", ResticMover.restore

    def meanwhile(self: ResticMover, *args: Any, **kwargs: Any) -> None:
        restore(self, *args, **kwargs)
        (target / "blob").write_text("of somebody else")

    monkeypatch.setattr(ResticMover, "restore", meanwhile)
    with pytest.raises(HostError, match="not empty"):
        exporter.to_directory(target)
    assert {each.name: each.read_text() for each in target.iterdir() if each.is_file()} == {
        "blob": "of somebody else"
    }
    assert not [each for each in target.iterdir() if each.name.startswith(".volflow")]
