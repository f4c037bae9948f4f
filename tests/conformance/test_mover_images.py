"""What every mover must do with images of ranges of devices."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cloud import run
from tests.support.namespaces import mounted, new_image
from tests.support.repositories import Subject
from tests.support.saving import REGION, save
from volflow.errors import HostError, RepositoryError, StoppedError
from volflow.host.namespace import MountNamespace
from volflow.movers.base import Mover, RawImage, Saved
from volflow.results.outcome import CopyProgress

MIB = 2**20
SIZE = 24 * MIB
# What a device has where nothing may be written.
OTHER = b"O"


@contextmanager
def device(path: Path, content: bytes) -> Iterator[str]:
    """A block device with this content."""
    path.write_bytes(content)
    name = run("losetup", "--find", "--show", str(path)).strip()
    try:
        yield name
    finally:
        run("losetup", "--detach", name)


def odd_content(size: int = SIZE) -> bytes:
    """Data with zeros in it: of pages, of half pages, at both ends."""
    data = bytearray(os.urandom(size))
    ends = (size - 100_000, size)
    for first, last in ((0, 5000), (MIB, 3 * MIB), (4 * MIB + 512, 4 * MIB + 70_000), ends):
        data[first:last] = bytes(len(data[first:last]))
    return bytes(data[:size])


def image(device: str, start: int, size: int, number: int = 1) -> RawImage:
    return RawImage(Path(f"regions/{number}.img"), device, start, size)


@contextmanager
def namespace_of(directory: Path) -> Iterator[MountNamespace]:
    """A namespace in which nothing is mounted."""
    with mounted(directory, {}) as (namespace, _):
        yield namespace


def restore(
    mover: Mover,
    namespace: MountNamespace,
    backup_id: str,
    wanted: RawImage,
    *,
    blank: bool = False,
    progress: Callable[[CopyProgress], None] = lambda _: None,
    stopping: threading.Event | None = None,
) -> None:
    mover.restore_image(
        namespace,
        backup_id,
        wanted,
        blank=blank,
        progress=progress,
        stopping=stopping or threading.Event(),
    )


def compare(
    mover: Mover,
    namespace: MountNamespace,
    backup_id: str,
    wanted: RawImage,
    stopping: threading.Event | None = None,
) -> None:
    mover.compare_image(
        namespace,
        backup_id,
        wanted,
        progress=lambda _: None,
        stopping=stopping or threading.Event(),
    )


def saved_as_image(subject: Subject, directory: Path, content: bytes, start: int = MIB) -> Saved:
    """Store this content as an image of the middle of a device."""
    whole = OTHER * start + content
    whole += OTHER * (-len(whole) % 4096 + 4096)
    with device(directory / "saved", whole) as name, namespace_of(directory) as namespace:
        return save(subject.mover, namespace, images=[image(name, start, len(content))])


@pytest.mark.parametrize("blank", [True, False], ids=["blank", "dirty"])
@pytest.mark.parametrize(
    ("size", "start"),
    [(SIZE, MIB), (5 * MIB + 512, 17 * 512), (512, 512), (6 * MIB, 2 * MIB + 3584)],
)
def test_a_range_comes_back_and_nothing_else_changes(
    subject: Subject, tmp_path: Path, size: int, start: int, blank: bool
) -> None:
    content = odd_content(size)
    saved = saved_as_image(subject, tmp_path, content, start)
    assert saved.unread == ()
    assert saved.figures.files_total == 1
    assert saved.figures.bytes_total == size
    target = tmp_path / "target"
    before = bytes(size) if blank else os.urandom(size)
    whole = OTHER * start + before + OTHER * (4096 - (start + size) % 4096)
    seen: list[CopyProgress] = []
    with device(target, whole) as name, namespace_of(tmp_path) as namespace:
        wanted = image(name, start, size)
        restore(subject.mover, namespace, saved.id, wanted, blank=blank, progress=seen.append)
        compare(subject.mover, namespace, saved.id, wanted)
    after = target.read_bytes()
    assert after[start : start + size] == content
    assert after[:start] == OTHER * start
    assert after[start + size :] == whole[start + size :]
    assert seen[-1].bytes == seen[-1].bytes_total == size


def test_trees_and_images_are_one_backup_of_ordinary_files(
    subject: Subject, tmp_path: Path
) -> None:
    plain = new_image(tmp_path / "plain", 16 * MIB)
    contents = [odd_content(5 * MIB), os.urandom(3 * MIB)]
    with mounted(tmp_path, {REGION: plain}) as (_, root):
        (root / REGION / "text").write_text("a text\n")
    with (
        device(tmp_path / "disk", b"".join(contents)) as name,
        mounted(tmp_path, {REGION: plain}, read_only=True) as (namespace, root),
    ):
        images = [image(name, 0, 5 * MIB, 1), image(name, 5 * MIB, 3 * MIB, 2)]
        saved = save(subject.mover, namespace, REGION, images=images, manifest='{"a": 1}')
        # Nothing that shows them stays.
        assert sorted(os.listdir(root / "regions")) == ["0"]
    assert saved.figures.files_total == 3
    assert saved.figures.bytes_total == 8 * MIB + len("a text\n")
    assert subject.repository.manifest(saved.id) == '{"a": 1}'
    for each in images:
        (node,) = subject.repository.nodes(saved.id, each.path)
        assert (node.type, node.size, node.uid, node.gid) == ("file", each.size, 0, 0)
        assert node.permissions == "-rw-------"
    place = tmp_path / "place"
    place.mkdir()
    with subject.repository.mounted(saved.id, place) as served:
        for each, content in zip(images, contents, strict=True):
            assert (served.path / each.path).read_bytes() == content
        assert (served.path / REGION / "text").read_text() == "a text\n"
    assert subject.repository.read_all(saved.id, Path("regions")) >= 8 * MIB
    assert len(subject.repository.backups()) == 1


def test_an_unchanged_image_stores_almost_nothing_and_a_changed_one_its_change(
    subject: Subject, tmp_path: Path
) -> None:
    content = bytearray(os.urandom(SIZE))
    with (
        device(tmp_path / "disk", bytes(content)) as name,
        namespace_of(tmp_path) as namespace,
    ):
        wanted = image(name, 0, SIZE)
        first = save(subject.mover, namespace, images=[wanted])
        again = save(subject.mover, namespace, images=[wanted], parent_id=first.id)
        assert again.figures.bytes_stored < MIB < SIZE <= first.figures.bytes_stored
        content[7 * MIB : 7 * MIB + 9] = b"a change."
        with open(name, "r+b") as disk:
            disk.seek(7 * MIB)
            disk.write(b"a change.")
            os.fsync(disk.fileno())
        changed = save(subject.mover, namespace, images=[wanted], parent_id=again.id)
        assert changed.figures.files_total == again.figures.files_total == 1
        compare(subject.mover, namespace, changed.id, wanted)
        with pytest.raises(HostError, match=rf"byte {7 * MIB:,}\b"):
            compare(subject.mover, namespace, again.id, wanted)


def test_an_image_of_zeros_stores_almost_nothing_and_clears_a_dirty_range(
    subject: Subject, tmp_path: Path
) -> None:
    saved = saved_as_image(subject, tmp_path, bytes(SIZE))
    target = tmp_path / "target"
    with device(target, os.urandom(SIZE)) as name, namespace_of(tmp_path) as namespace:
        restore(subject.mover, namespace, saved.id, image(name, 0, SIZE))
        compare(subject.mover, namespace, saved.id, image(name, 0, SIZE))
    assert target.read_bytes() == bytes(SIZE)


def test_zeros_are_not_written_to_a_blank_range(subject: Subject, tmp_path: Path) -> None:
    content = bytes(16 * MIB) + os.urandom(4096)
    saved = saved_as_image(subject, tmp_path, content)
    target = tmp_path / "target"
    with device(target, b"") as _:
        pass
    os.truncate(target, len(content))
    with namespace_of(tmp_path) as namespace:
        wanted = image(str(target), 0, len(content))
        restore(subject.mover, namespace, saved.id, wanted, blank=True)
    assert target.read_bytes() == content
    assert target.stat().st_blocks * 512 < MIB


def test_a_comparison_names_the_first_byte_that_differs(subject: Subject, tmp_path: Path) -> None:
    content = odd_content(3 * MIB)
    saved = saved_as_image(subject, tmp_path, content)
    for offset in (0, 4999, MIB + 77, 3 * MIB - 1):
        other = bytearray(content)
        other[offset] ^= 1
        with (
            device(tmp_path / "other", bytes(other)) as name,
            namespace_of(tmp_path) as namespace,
            pytest.raises(HostError, match=rf"\bbyte {offset:,}\b"),
        ):
            compare(subject.mover, namespace, saved.id, image(name, 0, len(content)))


@pytest.mark.parametrize("more", [-512, 512, 4 * MIB])
def test_an_image_of_another_size_than_its_range_is_refused(
    subject: Subject, tmp_path: Path, more: int
) -> None:
    saved = saved_as_image(subject, tmp_path, os.urandom(2 * MIB))
    target = tmp_path / "target"
    with device(target, OTHER * 8 * MIB) as name, namespace_of(tmp_path) as namespace:
        wanted = image(name, MIB, 2 * MIB + more)
        for act in (restore, compare):
            with pytest.raises(HostError, match=rf"{2 * MIB:,} bytes.*{2 * MIB + more:,}"):
                act(subject.mover, namespace, saved.id, wanted)
    assert target.read_bytes() == OTHER * 8 * MIB


def test_a_range_that_the_device_does_not_have_is_refused(subject: Subject, tmp_path: Path) -> None:
    saved = saved_as_image(subject, tmp_path, os.urandom(2 * MIB))
    with device(tmp_path / "target", OTHER * MIB) as name, namespace_of(tmp_path) as namespace:
        wanted = image(name, 0, 2 * MIB)
        with pytest.raises(HostError, match=r"target|/dev/loop"):
            restore(subject.mover, namespace, saved.id, wanted)


def test_an_image_that_the_backup_does_not_have_is_an_error(
    subject: Subject, tmp_path: Path
) -> None:
    saved = saved_as_image(subject, tmp_path, os.urandom(MIB))
    with device(tmp_path / "target", OTHER * MIB) as name, namespace_of(tmp_path) as namespace:
        wanted = replace(image(name, 0, MIB), path=Path("regions/7.img"))
        with pytest.raises(RepositoryError, match=r"regions/7\.img"):
            restore(subject.mover, namespace, saved.id, wanted)


def test_an_image_that_cannot_be_read_is_named_and_the_rest_is_stored(
    subject: Subject, tmp_path: Path
) -> None:
    good, bad = os.urandom(2 * MIB), os.urandom(4 * MIB)
    with (
        device(tmp_path / "good", good) as one,
        device(tmp_path / "bad", bad) as other,
        namespace_of(tmp_path) as namespace,
    ):
        # The kernel reports an input/output error beyond the end of its file.
        os.truncate(tmp_path / "bad", 3 * MIB)
        images = [image(other, 0, 4 * MIB, 1), image(one, 0, 2 * MIB, 2)]
        saved = save(subject.mover, namespace, images=images)
        assert saved.unread == ("regions/1.img",)
        assert saved.figures.files_total == 1
        compare(subject.mover, namespace, saved.id, images[1])
        with pytest.raises(RepositoryError, match=r"regions/1\.img"):
            compare(subject.mover, namespace, saved.id, images[0])


def test_what_is_stopped_before_it_begins_does_nothing(subject: Subject, tmp_path: Path) -> None:
    saved = saved_as_image(subject, tmp_path, os.urandom(2 * MIB))
    stopping = threading.Event()
    stopping.set()
    target = tmp_path / "target"
    with device(target, OTHER * 2 * MIB) as name, namespace_of(tmp_path) as namespace:
        wanted = image(name, 0, 2 * MIB)
        with pytest.raises(StoppedError):
            save(subject.mover, namespace, images=[wanted], stopping=stopping)
        for act in (restore, compare):
            with pytest.raises(StoppedError):
                act(subject.mover, namespace, saved.id, wanted, stopping=stopping)
    assert target.read_bytes() == OTHER * 2 * MIB
    assert [backup.id for backup in subject.repository.backups()] == [saved.id]
