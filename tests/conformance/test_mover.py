"""What every mover must do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import tree
from tests.support.cloud import run
from tests.support.namespaces import mounted, new_image
from tests.support.repositories import Subject
from tests.support.saving import REGION, save
from volflow.disk import sparse, traffic
from volflow.errors import HostError, RepositoryError, StoppedError
from volflow.movers.base import Mover
from volflow.results.outcome import CopyProgress

MIB = 2**20
RANDOM = 8 * MIB
SECOND = Path("regions/1")


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a file system with every odd kind of file."""
    directory = tmp_path_factory.mktemp("odd")
    image = new_image(directory / "image", 256 * MIB)
    with mounted(directory, {REGION: image}) as (_, root):
        tree.make(root / REGION)
    return image


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images to copy."""
    directory = tmp_path_factory.mktemp("templates")
    plain = new_image(directory / "plain", 32 * MIB)
    with mounted(directory, {REGION: plain}) as (_, root):
        (root / REGION / "sub").mkdir()
        (root / REGION / "sub" / "random").write_bytes(os.urandom(RANDOM))
        (root / REGION / "text").write_text("a text\n")
    return {"plain": plain, "empty": new_image(directory / "empty", 256 * MIB)}


def _copy(image: Path, to: Path) -> Path:
    run("cp", "--sparse=always", str(image), str(to))
    return to


@pytest.fixture
def plain(templates: dict[str, Path], tmp_path: Path) -> Path:
    """An image of a file system with a few files in it."""
    return _copy(templates["plain"], tmp_path / "plain")


@pytest.fixture
def empty(templates: dict[str, Path], tmp_path: Path) -> Path:
    """An image of an empty file system."""
    return _copy(templates["empty"], tmp_path / "empty")


def restore(
    mover: Mover,
    namespace: object,
    backup_id: str,
    *paths: Path,
    progress: Callable[[CopyProgress], None] = lambda _: None,
    stopping: threading.Event | None = None,
) -> None:
    mover.restore(
        namespace,  # type: ignore[arg-type]
        backup_id,
        paths or (REGION,),
        progress=progress,
        stopping=stopping or threading.Event(),
    )


def compare(mover: Mover, namespace: object, backup_id: str, path: Path = REGION) -> None:
    mover.compare(
        namespace,  # type: ignore[arg-type]
        backup_id,
        path,
        progress=lambda _: None,
        stopping=threading.Event(),
    )


# Complete copies


def test_a_tree_comes_back_whole(subject: Subject, odd: Path, empty: Path, tmp_path: Path) -> None:
    """Contents, holes, odd names, hard links, special files, owners, times and attributes."""
    with mounted(tmp_path, {REGION: odd}, read_only=True) as (namespace, root):
        before = tree.describe(root / REGION)
        holes = sparse.find(namespace, namespace.root / REGION)
        saved = save(subject.mover, namespace)
    assert saved.unread == ()
    with mounted(tmp_path, {REGION: empty}) as (namespace, root):
        namespace.run("find", namespace.root / REGION, "-mindepth", "1", "-delete")
        restore(subject.mover, namespace, saved.id)
        sparse.shape(namespace, namespace.root / REGION, holes)
        after = tree.describe(root / REGION)
        compare(subject.mover, namespace, saved.id)
    # mkfs makes it; it is not part of the tree.
    before = {path: entry for path, entry in before.items() if path != b"lost+found"}
    after = {path: entry for path, entry in after.items() if path != b"lost+found"}
    tree.assert_same(before, after)


def test_several_regions_are_one_backup(subject: Subject, plain: Path, tmp_path: Path) -> None:
    other = new_image(tmp_path / "other", 16 * MIB)
    with mounted(tmp_path, {REGION: other}) as (_, root):
        (root / REGION / "of the other").write_text("other\n")
    with mounted(tmp_path, {REGION: plain, SECOND: other}, read_only=True) as (namespace, root):
        before = [tree.describe(root / region) for region in (REGION, SECOND)]
        saved = save(subject.mover, namespace, REGION, SECOND)
    images = {region: new_image(tmp_path / region.name, 32 * MIB) for region in (REGION, SECOND)}
    with mounted(tmp_path, images) as (namespace, root):
        restore(subject.mover, namespace, saved.id, REGION, SECOND)
        for region, described in zip((REGION, SECOND), before, strict=True):
            compare(subject.mover, namespace, saved.id, region)
            tree.assert_same(described, tree.describe(root / region))
    assert len(subject.repository.backups()) == 1


def test_some_paths_are_restored_alone(
    subject: Subject, plain: Path, empty: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path, {REGION: plain}) as (namespace, root):
        # Other programs interpret these names as patterns.
        for name in ("[t]ext", "t*", "te?t", "sub.x"):
            (root / REGION / name).write_text(name)
        saved = save(subject.mover, namespace)
    with mounted(tmp_path, {REGION: empty}) as (namespace, root):
        restore(subject.mover, namespace, saved.id, REGION / "sub", REGION / "t*")
        found = {path for path in os.listdir(root / REGION) if path != "lost+found"}
        assert found == {"sub", "t*"}
        assert (root / REGION / "sub" / "random").stat().st_size == RANDOM


def test_a_sparse_file_that_is_larger_than_the_target_fits(
    subject: Subject, tmp_path: Path
) -> None:
    if not subject.mover.restores_holes:
        pytest.skip("this mover fills holes while it restores, and says so")
    image, target = (new_image(tmp_path / name, 16 * MIB) for name in ("image", "target"))
    with mounted(tmp_path, {REGION: image}) as (namespace, root):
        with open(root / REGION / "large", "wb") as file:
            file.write(b"data")
            file.truncate(48 * MIB)
        saved = save(subject.mover, namespace)
    with mounted(tmp_path, {REGION: target}) as (namespace, root):
        restore(subject.mover, namespace, saved.id)
        assert (root / REGION / "large").stat().st_size == 48 * MIB


# Later copies


def test_with_a_parent_nothing_is_read_again(subject: Subject, plain: Path, tmp_path: Path) -> None:
    with mounted(tmp_path, {REGION: plain}, read_only=True) as (namespace, _):
        first = save(subject.mover, namespace)
    with mounted(tmp_path, {REGION: plain}, read_only=True) as (namespace, _):
        place = namespace.root / REGION
        device = namespace.run("findmnt", "--noheadings", "--output", "SOURCE", place).strip()
        before = traffic.bytes_read(device)
        again = save(subject.mover, namespace, parent_id=first.id)
        assert traffic.bytes_read(device) - before < RANDOM // 2
    assert (first.figures.files_new, first.figures.files_unmodified) == (2, 0)
    assert (again.figures.files_new, again.figures.files_changed) == (0, 0)
    assert again.figures.files_unmodified == 2
    assert first.figures.bytes_total == again.figures.bytes_total == RANDOM + len("a text\n")
    assert first.figures.bytes_stored >= RANDOM > again.figures.bytes_stored
    assert subject.repository.read_all(again.id, REGION) >= RANDOM


def test_what_has_changed_since_the_parent_is_stored(
    subject: Subject, plain: Path, empty: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path, {REGION: plain}) as (namespace, root):
        first = save(subject.mover, namespace)
        status = (root / REGION / "text").stat()
        (root / REGION / "text").write_text("A TEXT\n")
        # The same size and time.
        os.utime(root / REGION / "text", ns=(status.st_atime_ns, status.st_mtime_ns))
        (root / REGION / "new").write_text("new\n")
        again = save(subject.mover, namespace, parent_id=first.id)
        before = tree.describe(root / REGION)
    figures = again.figures
    assert (figures.files_new, figures.files_changed, figures.files_unmodified) == (1, 1, 1)
    with mounted(tmp_path, {REGION: empty}) as (namespace, root):
        restore(subject.mover, namespace, again.id)
        tree.assert_same(before, tree.describe(root / REGION))


# Incomplete copies


def test_what_cannot_be_read_is_named_and_the_rest_is_stored(
    subject: Subject, plain: Path, empty: Path, tmp_path: Path
) -> None:
    # The file's first block is far beyond the end of the device, so reading it fails.
    for field in ("block[5] 999999999", "block[3] 0x00000000"):
        run("debugfs", "-w", "-R", f"set_inode_field /sub/random {field}", str(plain))
    with mounted(tmp_path, {REGION: plain}, read_only=True) as (namespace, _):
        saved = save(subject.mover, namespace)
    assert saved.unread == (f"{REGION}/sub/random",)
    with mounted(tmp_path, {REGION: empty}) as (namespace, root):
        restore(subject.mover, namespace, saved.id)
        assert (root / REGION / "text").read_text() == "a text\n"
        assert not (root / REGION / "sub" / "random").exists()


def test_a_save_that_is_stopped_stores_nothing(
    subject: Subject, plain: Path, tmp_path: Path
) -> None:
    stopping = threading.Event()
    stopping.set()
    with (
        mounted(tmp_path, {REGION: plain}, read_only=True) as (namespace, _),
        pytest.raises(StoppedError),
    ):
        save(subject.mover, namespace, stopping=stopping)
    assert list(subject.repository.backups()) == []


def test_a_restore_and_a_comparison_can_be_stopped(
    subject: Subject, plain: Path, empty: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path, {REGION: plain}, read_only=True) as (namespace, _):
        saved = save(subject.mover, namespace)
    stopping = threading.Event()
    stopping.set()
    with mounted(tmp_path, {REGION: empty}) as (namespace, _):
        with pytest.raises(StoppedError):
            restore(subject.mover, namespace, saved.id, stopping=stopping)
        with pytest.raises(StoppedError):
            subject.mover.compare(
                namespace, saved.id, REGION, progress=lambda _: None, stopping=stopping
            )


# Comparing


def test_a_comparison_names_what_differs(subject: Subject, plain: Path, tmp_path: Path) -> None:
    alterations: dict[str, Callable[[Path], object]] = {
        "content": lambda file: file.write_text("ANOTHER\n"),
        "permissions": lambda file: file.chmod(0o600),
        "owner": lambda file: os.chown(file, 7, 7),
        "missing": lambda file: file.unlink(),
        "type": lambda file: (file.unlink(), file.mkdir()),
    }
    with mounted(tmp_path, {REGION: plain}) as (namespace, root):
        for name in (*alterations, "same"):
            (root / REGION / name).write_text("a text\n")
        saved = save(subject.mover, namespace)
        compare(subject.mover, namespace, saved.id)
        for name, alter in alterations.items():
            alter(root / REGION / name)
        with pytest.raises(HostError) as caught:
            compare(subject.mover, namespace, saved.id)
    assert all(f"/{name}" in str(caught.value) for name in alterations)
    assert "/same" not in str(caught.value)


# Paths


def test_the_paths_of_a_backup_are_listed_each_after_its_directory(
    subject: Subject, plain: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path, {REGION: plain}) as (namespace, root):
        (root / REGION / "new\nline").write_text("x")
        saved = save(subject.mover, namespace)
    found = list(subject.mover.paths(saved.id, REGION))
    assert found[0][:2] == ("", True)
    assert {path: directory for path, directory, _ in found} == {
        "": True,
        "lost+found": True,
        "sub": True,
        "sub/random": False,
        "text": False,
        "new\nline": False,
    }
    names = [one.path for one in found]
    assert names.index("sub") < names.index("sub/random")


def test_a_name_that_is_not_utf8_is_listed_exactly_or_refused(
    subject: Subject, plain: Path, tmp_path: Path
) -> None:
    with mounted(tmp_path, {REGION: plain}) as (namespace, root):
        Path(os.fsdecode(os.fsencode(root / REGION) + b"/\xff")).write_text("x")
        saved = save(subject.mover, namespace)
    try:
        found = [one.path for one in subject.mover.paths(saved.id, REGION)]
    except RepositoryError:
        return
    assert os.fsdecode(b"\xff") in found


# Progress


def test_progress_never_exceeds_what_there_is(
    subject: Subject, plain: Path, tmp_path: Path
) -> None:
    seen: list[CopyProgress] = []
    with mounted(tmp_path, {REGION: plain}, read_only=True) as (namespace, _):
        save(subject.mover, namespace, progress=seen.append)
    assert all(each.bytes <= RANDOM + MIB for each in seen)
    assert [each.bytes for each in seen] == sorted(each.bytes for each in seen)
