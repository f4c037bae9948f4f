"""Why the kernel has refused to mount a file system, by what it has said."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

# The features in the order of their bits, as dumpe2fs and mkfs.xfs name them; a dash has no name.
_EXT_INCOMPATIBLE = (
    "compression filetype needs_recovery journal_dev meta_bg - extent 64bit mmp flex_bg ea_inode - "
    "dirdata metadata_csum_seed large_dir inline_data encrypt casefold"
)
_EXT_READ_ONLY = (
    "sparse_super large_file btree_dir huge_file uninit_bg dir_nlink extra_isize snapshot quota "
    "bigalloc metadata_csum replica read-only project shared_blocks verity orphan_present"
)
_XFS_INCOMPATIBLE = (
    "ftype sparse meta_uuid bigtime needsrepair nrext64 exchange parent metadir zoned"
)
_XFS_READ_ONLY = "finobt rmapbt reflink inobtcount"

# Exists while a loop device is set up.
_BACKING = "/sys/block/{}/loop/backing_file"
# What the kernel says of a file system, and not of the loop device alone.
_OF_LOOP = re.compile(r"(?:\((?:device )?|\bdev )(loop\d+)\b")
# What it says of a file system that it has mounted, which is another one.
_MOUNTED = re.compile(
    r"(?:\((?:device )?(loop\d+)\)).*(?:mounted filesystem|ending clean mount|ending recovery)",
    re.IGNORECASE,
)
# Lines that are told.
_KEPT = 8
_REPAIRS = {"xfs": "xfs_repair"}
_DAMAGE = re.compile(
    r"checksum|\bcrc\b|corrupt|damaged|needs? (?:repair|cleaning)|"
    r"run (?:e2fsck|xfs_repair|fsck)|xfs_repair|error loading journal|root inode|bad geometry|"
    r"not in group|overlaps|deleted inode|invalid|internal error|validate failed|log mount|"
    r"journal (?:inode|superblock)|last sector read failed|no journal found|mmp",
    re.IGNORECASE,
)
# Writes fail too where a damaged file system is to be marked on a read-only device.
_INPUT_OUTPUT = re.compile(r"error, dev \S+, sector .*\(READ\)|unable to read superblock")


# What mount(8) says itself if the kernel calls a file system damaged.
NEEDS_CLEANING = "Structure needs cleaning"


def about(device: str, said: Sequence[str]) -> list[str]:
    """What the kernel has said about a device.

    :param device: the device; or a file, for which mount(8) sets up a loop device, and removes it
        again when it has failed. The file may be visible only in the namespace of the mount.
    :param said: what the kernel has said about anything
    :returns: the last lines, oldest first
    """
    if os.path.isfile(device) or not (device.startswith("/dev/") or os.path.lexists(device)):
        named = {loop for line in said for loop in _OF_LOOP.findall(line)}
        named -= {found[1] for line in said if (found := _MOUNTED.search(line))}
        names = {each for each in named if not os.path.exists(_BACKING.format(each))}
        # Another mount has failed at the same time.
        if len(names) > 1:
            return []
    else:
        names = {os.path.basename(os.path.realpath(device))}
    each = "|".join(map(re.escape, names))
    wanted = re.compile(rf"\((?:device )?(?:{each})\)|\bdev (?:{each})\b")
    # The kernel says some things for each try.
    return list(dict.fromkeys(line for line in said if names and wanted.search(line)))[-_KEPT:]


def why(fs_type: str, said: Sequence[str]) -> str:
    """Why the kernel does not mount a file system, and what to do, in a sentence or two.

    :param fs_type: as in mount(8)
    :param said: what the kernel has said about its device
    :returns: empty if that says nothing of the reason
    """
    text = "\n".join(said)
    if lacks := _lacking(fs_type, text):
        return f"The kernel of this host does not support {lacks}."
    if _INPUT_OUTPUT.search(text):
        return "The device has input/output errors: check the volume's storage."
    if _DAMAGE.search(text):
        repair = _REPAIRS.get(fs_type, "e2fsck -f")
        return f"The {fs_type} is damaged: run '{repair}' in the guest, then try again."
    return ""


def _lacking(fs_type: str, text: str) -> str:
    """What a kernel lacks for a file system; empty if it says nothing of that."""
    if found := re.search(r"(RDWR )?because of unsupported optional features \((\w+)\)", text):
        if found[1]:
            names = _features(_EXT_READ_ONLY, "R", found[2])
            return f"{names} of this {fs_type} for writing"
        return f"{_features(_EXT_INCOMPATIBLE, 'I', found[2])} of this {fs_type}"
    if found := re.search(r"unknown (incompatible|read-only compatible) features \((\w+)\)", text):
        if found[1] == "incompatible":
            return f"{_features(_XFS_INCOMPATIBLE, 'I', found[2])} of this {fs_type}"
        return f"{_features(_XFS_READ_ONLY, 'R', found[2])} of this {fs_type} for writing"
    if found := re.search(r"with (\w+) feature cannot be mounted", text):
        return f"the feature {found[1]} of this {fs_type}"
    if "CONFIG_QFMT_V2" in text:
        return (
            f"the feature quota of this {fs_type} for writing: it is built without CONFIG_QFMT_V2"
        )
    if found := re.search(r"(?:bad block ?size |with blocksize )(\d+)", text):
        return f"blocks of {found[1]} bytes, which this {fs_type} has"
    if re.search(r"V4 format|version 4", text):
        return f"the format 4 (crc=0) of this {fs_type}"
    if re.search(r"case.?insensitiv", text, re.IGNORECASE):
        return f"the feature ascii-ci of this {fs_type}"
    return ""


def _features(names: str, kind: str, mask: str) -> str:
    """The features of a mask.

    :param kind: the letter by which dumpe2fs names those that it does not know
    :param mask: hexadecimal
    """
    value = int(mask, 16)
    bits = [bit for bit in range(value.bit_length()) if value >> bit & 1]
    known = dict(enumerate(names.split()))
    found = [known[bit] if known.get(bit, "-") != "-" else f"FEATURE_{kind}{bit}" for bit in bits]
    return f"the feature{'s' if len(found) > 1 else ''} {', '.join(found)}"
