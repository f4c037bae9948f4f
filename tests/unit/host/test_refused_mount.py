"""The kernel's words about a refused mount become a reason, and only those about the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from volflow.host import refused_mount

# What kernels from 5.10 to 6.18 print.
REASONS = [
    (
        "ext4",
        "EXT4-fs (dm-0): couldn't mount RDWR because of unsupported optional features (20000400)",
        "does not support the features metadata_csum, FEATURE_R29 of this ext4 for writing.",
    ),
    (
        "ext4",
        "EXT4-fs (dm-0): couldn't mount because of unsupported optional features (100020)",
        "does not support the features FEATURE_I5, FEATURE_I20 of this ext4.",
    ),
    (
        "ext4",
        "EXT4-fs (dm-0): Filesystem with casefold feature cannot be mounted without CONFIG_UNICODE",
        "does not support the feature casefold of this ext4.",
    ),
    (
        "ext4",
        "EXT4-fs (dm-0): The kernel was not built with CONFIG_QUOTA and CONFIG_QFMT_V2",
        "does not support the feature quota of this ext4 for writing",
    ),
    ("ext4", "EXT4-fs (dm-0): bad block size 65536", "does not support blocks of 65536 bytes"),
    (
        "xfs",
        "XFS (dm-0): File system with blocksize 65536 bytes. Only pagesize (4096) or less will "
        "currently work.",
        "does not support blocks of 65536 bytes",
    ),
    (
        "xfs",
        "XFS (dm-0): Superblock has unknown incompatible features (0x42000020) enabled.",
        "does not support the features nrext64, FEATURE_I25, FEATURE_I30 of this xfs.",
    ),
    (
        "xfs",
        "XFS (dm-0): Superblock has unknown read-only compatible features (0x8) enabled.",
        "does not support the feature inobtcount of this xfs for writing.",
    ),
    (
        "xfs",
        "XFS (dm-0): Deprecated V4 format (crc=0) not supported by kernel.",
        "does not support the format 4 (crc=0) of this xfs.",
    ),
    (
        "xfs",
        "XFS (dm-0): Deprecated ASCII case-insensitivity feature (ascii-ci=1) not supported by "
        "kernel.",
        "does not support the feature ascii-ci of this xfs.",
    ),
    ("xfs", "XFS (dm-0): SB validate failed with error -117.", "xfs is damaged: run 'xfs_repair'"),
    ("ext4", "EXT4-fs (dm-0): group descriptors corrupted!", "damaged: run 'e2fsck -f'"),
    ("ext3", "EXT4-fs (dm-0): error loading journal", "The ext3 is damaged: run 'e2fsck -f'"),
    (
        "ext4",
        "I/O error, dev dm-0, sector 2 op 0x0:(READ) flags 0x1000 phys_seg 1 prio class 2",
        "The device has input/output errors: check the volume's storage.",
    ),
]


@pytest.mark.parametrize(("kind", "line", "told"), REASONS, ids=[each[1] for each in REASONS])
def test_each_reason_is_told_in_plain_words(kind: str, line: str, told: str) -> None:
    assert told in refused_mount.why(kind, [line])


def test_an_unknown_reason_is_not_guessed() -> None:
    said = ["EXT4-fs (dm-0): can't mount with data=, fs mounted w/o journal"]
    assert refused_mount.why("ext4", said) == ""


def test_only_what_concerns_the_device_counts(tmp_path: Path) -> None:
    device = tmp_path / "by-id"
    (tmp_path / "dm-1").touch()
    device.symlink_to("dm-1")
    said = [
        "EXT4-fs (dm-10): bad geometry",
        "EXT4-fs (dm-1): first",
        "EXT4-fs error (device dm-1): second",
        "EXT4-fs (dm-1): first",
        "I/O error, dev dm-1, sector 8",
        "I/O error, dev dm-11, sector 8",
        "a tenant's name dm-1",
    ]
    (tmp_path / "dm-1").unlink()
    assert refused_mount.about(str(device), said) == [said[1], said[2], said[4]]


def test_the_loop_device_of_a_file_is_found_where_it_is_the_only_one(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    said = ["EXT4-fs (loop900): bad geometry", "EXT4-fs (dm-1): bad geometry"]
    assert refused_mount.about(str(image), said) == said[:1]
    assert refused_mount.about(str(image), [*said, "XFS (loop901): SB validate failed"]) == []


def test_a_file_system_that_was_mounted_meanwhile_is_another_one(tmp_path: Path) -> None:
    others = [
        "EXT4-fs (loop901): mounted filesystem 0c1f r/w with ordered data mode. Quota mode: none.",
        "EXT4-fs (loop901): unmounting filesystem 0c1f.",
        "XFS (loop902): Mounting V5 Filesystem 0c1f",
        "XFS (loop902): Ending clean mount",
        "XFS (loop902): Unmounting Filesystem 0c1f",
    ]
    said = ["XFS (loop900): Mounting V5 Filesystem 0c1f", "XFS (loop900): log mount failed"]
    assert refused_mount.about(str(tmp_path / "image"), [*others, *said, *others]) == said


def test_a_file_in_another_namespace_has_a_loop_device_too(tmp_path: Path) -> None:
    said = ["loop901: detected capacity change from 0 to 8", "EXT4-fs (loop900): bad geometry"]
    assert refused_mount.about(str(tmp_path / "not visible here"), said) == said[1:]
    # Such as one that was detached.
    assert refused_mount.about("/dev/volflow-has-no-such-device", said) == []
