"""What could not be written is reported before a restore is a success."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import namespaces
from tests.support.cloud import run, unmount
from volflow.disk import durable
from volflow.disk.filesystem import FileSystem
from volflow.errors import HostError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.tasks.mount import Mount, Unmount
from volflow.tasks.work import Work

MIB = 2**20
REGION = Path("regions/0")
TREES = {"journal": (), "no journal": ("-O", "^has_journal")}


@pytest.fixture(params=TREES)
def thin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A block device with an empty ext4 that takes less than its size."""
    if why := namespaces.missing():
        pytest.skip(why)
    below = tmp_path / "below"
    below.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(below))
    try:
        with open(below / "image", "wb") as file:
            file.truncate(320 * MIB)
        run("mkfs.ext4", "-q", "-F", *TREES[request.param], str(below / "image"))
        device = run("losetup", "--find", "--show", str(below / "image")).strip()
        try:
            yield device
        finally:
            run("losetup", "--detach", device)
    finally:
        unmount(below)


@pytest.fixture
def namespace(tmp_path: Path, thin: str) -> Iterator[MountNamespace]:
    """A namespace in which the device is mounted."""
    root = tmp_path / "mount"
    root.mkdir()
    found = MountNamespace(Privilege(), root)
    try:
        options = FileSystem("ext4", "").mount_options(read_only=False)
        found.mount(thin, root / REGION, "ext4", options)
        yield found
    finally:
        found.close()


def _write(namespace: MountNamespace) -> None:
    """Write more than the device takes. Nothing reports it."""
    file = namespace.root / REGION / "file"
    try:
        namespace.run("dd", "if=/dev/urandom", f"of={file}", "bs=1M", "count=32", "status=none")
    except HostError as error:
        # The kernel was quicker than dd.
        if "Read-only file system" not in str(error):
            raise


def test_a_file_system_that_lost_something_is_not_settled(namespace: MountNamespace) -> None:
    place = namespace.root / REGION
    durable.settle(namespace, place)
    _write(namespace)
    with pytest.raises(HostError, match=f"^Not everything could be written to {place}: .*error"):
        durable.settle(namespace, place)


def test_an_unmount_after_which_something_is_missing_is_no_success(
    namespace: MountNamespace, thin: str
) -> None:
    _write(namespace)
    with pytest.raises(HostError, match=r"^Not everything could be written to "):
        durable.unmount(namespace, thin)


@pytest.mark.parametrize("thin", ["no journal"], indirect=True)
def test_what_only_the_unmount_writes_is_asked_for(namespace: MountNamespace, thin: str) -> None:
    _write(namespace)
    namespace.unmount()
    with pytest.raises(HostError, match=f"^Not everything could be written to {thin}: "):
        durable.unmount(namespace, thin)


def test_a_file_that_could_not_be_written_is_no_success(tmp_path: Path, thin: str) -> None:
    point = tmp_path / "point"
    point.mkdir()
    run("mount", thin, str(point))
    try:
        with (
            pytest.raises(OSError, match=r"Input/output|Read-only|No space"),
            durable.new_file(point / "f"),
        ):
            run("dd", "if=/dev/urandom", f"of={point}/f", "bs=1M", "count=32", "status=none")
    finally:
        unmount(point)


def test_the_unmount_of_a_restore_is_no_success_if_something_was_lost(
    namespace: MountNamespace, thin: str
) -> None:
    nothing: Any = None
    work = Work(nothing, "volume", nothing, nothing, nothing, namespace=namespace)
    _write(namespace)
    with pytest.raises(HostError, match=r"^Not everything could be written to "):
        Unmount(Mount(work, read_only=False), strict=True).execute(thin, {})
    assert work.namespace is None


def test_what_is_written_is_no_failure(tmp_path: Path) -> None:
    if why := namespaces.missing():
        pytest.skip(why)
    image = namespaces.new_image(tmp_path / "image", 64 * MIB)
    device = run("losetup", "--find", "--show", str(image)).strip()
    (tmp_path / "mount").mkdir()
    namespace = MountNamespace(Privilege(), tmp_path / "mount")
    try:
        options = FileSystem("ext4", "").mount_options(read_only=False)
        namespace.mount(device, namespace.root / REGION, "ext4", options)
        namespace.write(namespace.root / REGION / "file", "content")
        durable.unmount(namespace, device)
        assert namespace.mounted == []
    finally:
        namespace.close()
        run("losetup", "--detach", device)
