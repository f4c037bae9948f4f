"""What this host cannot create is known before anything is created."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from volflow.disk import extended
from volflow.disk.filesystem import FileSystem, probe
from volflow.disk.rehearsal import CannotCreateError, Rehearsal
from volflow.errors import HostError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")

SIZE = 400 * 1024**2


class Tries(Rehearsal):
    """Counts how often it has to try."""

    def __init__(self, root: Path) -> None:
        self.count = 0
        self._root, self._privilege = root, Privilege(helper="")
        super().__init__(self._counted)

    def _counted(self) -> MountNamespace:
        self.count += 1
        return MountNamespace(self._privilege, self._root)

    def close(self) -> None:
        self._privilege.close()


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Tries]:
    root = tmp_path / "mount"
    root.mkdir()
    found = Tries(root)
    yield found
    found.close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    found = tmp_path / "disk"
    found.touch()
    os.truncate(found, SIZE)
    return found


def described(disk: Path, *commands: str) -> FileSystem:
    for command in commands:
        subprocess.run([*command.split(), str(disk)], check=True, capture_output=True)
    return probe(Privilege(helper=""), str(disk))


@pytest.mark.parametrize(
    "mkfs",
    [
        "mkfs.ext4 -q -F",
        "mke2fs -q -F -t ext2",
        "mke2fs -q -F -t ext3",
        "mkfs.ext4 -q -F -O mmp,orphan_file,bigalloc",
        "mkfs.xfs -q -f",
        "mkfs.xfs -q -f -m rmapbt=1,reflink=0 -i nrext64=1",
    ],
)
def test_what_this_host_can_create_is_left_as_it_is(
    rehearsal: Tries, disk: Path, mkfs: str
) -> None:
    found = described(disk, mkfs)
    fit = rehearsal.fit(found, SIZE)
    assert (fit.file_system, dict(fit.left_out), str(fit)) == (found, {}, "")


def test_each_kind_is_tried_once(rehearsal: Tries, disk: Path) -> None:
    for mkfs in ("mkfs.ext4 -q -F -L one", "mkfs.ext4 -q -F -L two"):
        found = described(disk, mkfs)
        assert rehearsal.fit(found, SIZE).file_system == found
    assert rehearsal.count == 1
    rehearsal.fit(found, 100 * SIZE)
    assert rehearsal.count == 2


@pytest.mark.parametrize("feature", ["FEATURE_C15", "FEATURE_R29", "read-only", "shared_blocks"])
def test_a_compatible_feature_that_mkfs_does_not_know_is_left_out(
    rehearsal: Tries, disk: Path, feature: str
) -> None:
    described(disk, "mkfs.ext4 -q -F")
    subprocess.run(["debugfs", "-w", "-R", f"feature {feature}", str(disk)], check=True)
    found = probe(Privilege(helper=""), str(disk))
    fit = rehearsal.fit(found, SIZE)
    assert str(fit) == f"'{feature}' (mkfs.ext4 of this host does not know it)"
    assert set(found.features) - set(fit.file_system.features) == {feature}


@pytest.mark.parametrize("others", ["", ",metadata_csum_seed", ",metadata_csum_seed,orphan_file"])
def test_what_the_kernel_does_not_write_to_is_left_out(
    rehearsal: Tries, disk: Path, others: str
) -> None:
    """Also beside a feature that mkfs does not create without an optional one."""
    found = described(disk, f"mkfs.ext4 -q -F -O quota,project{others}")
    left_out = rehearsal.fit(found, SIZE).left_out
    if not left_out:
        pytest.skip("the kernel of this host has quotas")
    why = "the kernel of this host does not mount it for writing"
    assert left_out == {"quota": why, "project": why}


def test_what_else_a_feature_needs_is_found_by_trying(
    rehearsal: Tries, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where mkfs creates nothing with all optional features left out at once."""
    monkeypatch.setattr(extended, "_NEEDED", {})
    found = described(disk, "mkfs.ext4 -q -F -O quota,metadata_csum_seed")
    assert rehearsal.fit(found, SIZE).left_out.keys() <= {"quota"}


def test_an_incompatible_feature_that_mkfs_does_not_know_is_named(
    rehearsal: Tries, disk: Path
) -> None:
    found = described(disk, "mkfs.ext4 -q -F").having("FEATURE_I20")
    with pytest.raises(CannotCreateError, match=r"not know the feature FEATURE_I20\.$") as error:
        rehearsal.fit(found, SIZE)
    assert error.value.why == "mkfs.ext4 of this host cannot create it"
    # It is remembered too.
    with pytest.raises(CannotCreateError, match="FEATURE_I20"):
        rehearsal.fit(found, SIZE)
    assert rehearsal.count == 1


def test_the_kernel_says_why_it_does_not_mount_such_a_file_system(
    rehearsal: Tries, disk: Path
) -> None:
    """The file that is tried is visible only in the namespace."""
    found = described(disk, "mkfs.ext4 -q -F -b 65536 -O ^64bit")
    if not os.access("/dev/kmsg", os.R_OK):
        pytest.skip("the log of the kernel cannot be read")
    # Newer kernels may mount it.
    said = "does not support blocks of 65536 bytes"
    try:
        rehearsal.fit(found, SIZE)
    except CannotCreateError as error:
        said = str(error)
    assert "does not support blocks of 65536 bytes" in said
    assert "wrong fs type" not in said


def test_a_feature_of_newer_tools_is_left_out_or_named(rehearsal: Tries, disk: Path) -> None:
    found = described(disk, "mkfs.xfs -q -f")
    fit = rehearsal.fit(_with(found, {"meta-data.parity": "0"}), SIZE)
    assert not fit.left_out


def _with(found: FileSystem, more: dict[str, str]) -> FileSystem:
    stored = found.to_dict()
    return FileSystem.from_dict(stored | {"parameters": found.parameters | more})


@pytest.mark.parametrize(
    ("word", "bits", "name"),
    [
        ("features_ro_compat", 0x200, "features_ro_compat 0x200"),
        ("features_incompat", 0x400, "features_incompat 0x400"),
        ("features_incompat", 0x40, "exchange"),
        ("features_incompat", 0x80, "parent"),
    ],
)
def test_a_feature_of_a_newer_xfs_is_left_out(
    rehearsal: Tries, disk: Path, word: str, bits: int, name: str
) -> None:
    """Without these, the same files can be stored."""
    found = described(disk, "mkfs.xfs -q -f")
    if found.parameters.get(f"meta-data.{name}", found.parameters.get(f"naming.{name}")):
        pytest.skip("mkfs.xfs of this host knows it")
    new = int(found.parameters[f"superblock.{word}"], 16) | bits
    set_bits = f"write -d {word} {new:#x}"
    subprocess.run(["xfs_db", "-x", "-c", "sb 0", "-c", set_bits, str(disk)], check=True)
    fit = rehearsal.fit(described(disk), SIZE)
    assert fit.left_out == {name: "mkfs.xfs of this host does not know it"}
    assert name not in fit.file_system.features


def test_a_value_that_mkfs_refuses_is_chosen_by_mkfs(rehearsal: Tries, disk: Path) -> None:
    """The log of a small XFS is too small for a larger one."""
    found = described(disk, "mkfs.xfs -q --unsupported -d size=100m")
    room = 1024**3
    fit = rehearsal.fit(found, room)
    assert "does not accept" in fit.left_out["log.blocks"]
    again = disk.with_name("again")
    again.touch()
    os.truncate(again, room)
    made = fit.file_system.make(Privilege(helper=""), str(again), room)
    assert set(found.differences(made)) == {"log.blocks"}


def test_a_feature_that_is_off_and_unknown_to_mkfs_is_not_asked_for(
    rehearsal: Tries, disk: Path
) -> None:
    found = described(disk, "mkfs.xfs -q -f")
    newer = _with(found, {"meta-data.exchange": "0", "naming.parent": "0"})
    assert not rehearsal.fit(newer, SIZE).left_out


def test_a_host_that_mounts_nothing_in_a_file_leaves_nothing_out(
    rehearsal: Tries, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a container without loop devices, where volumes can be mounted."""

    def refuse(*_: object) -> None:
        raise HostError("no loop device")

    monkeypatch.setattr(MountNamespace, "mount", refuse)
    found = described(disk, "mkfs.ext4 -q -F -O quota")
    assert rehearsal.fit(found, SIZE).file_system == found
    assert rehearsal.unknown == "no file system in a file can be mounted: no loop device"


def test_what_can_be_tried_is_told_by_type(rehearsal: Tries) -> None:
    found = rehearsal.abilities()
    assert set(found) == {"ext4", "xfs"}
    assert "64bit" not in found["ext4"]


def test_nothing_stays_mounted(rehearsal: Tries, disk: Path) -> None:
    rehearsal.fit(described(disk, "mkfs.xfs -q -f"), SIZE)
    # Others mount on this host too.
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    assert str(disk.parent) not in mounts
