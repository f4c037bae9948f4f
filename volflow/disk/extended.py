"""ext2, ext3 and ext4, which dumpe2fs(8) describes, and mke2fs(8) and tune2fs(8) create.

A description has the names and values that ``dumpe2fs -h`` prints, whatever they are, so that
nothing about a file system is lost only because this module does not know it. The features are
split into the three sets that the superblock has, because they tell who may use a file system that
has an unknown one (Documentation/filesystems/ext4/super.rst of the Linux kernel).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from volflow.disk.description import word
from volflow.errors import DiskError, HostError, NoProgressError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.printable import printable

COMPATIBLE: Final = "Compatible features"
INCOMPATIBLE: Final = "Incompatible features"
READ_ONLY_COMPATIBLE: Final = "Read-only compatible features"
FEATURES: Final = (COMPATIBLE, INCOMPATIBLE, READ_ONLY_COMPATIBLE)
# Instead of the numbers of inodes and of reserved blocks, if only these are known.
BYTES_PER_INODE: Final = "Bytes per inode"
RESERVED_PERCENT: Final = "Reserved percent"

# Features that come and go while the file system is used.
_STATES = frozenset({"needs_recovery", "orphan_present"})
# Features of ext4 that Linux distributions and guests turn on, and which a host may lack.
TRIED: Final = (
    *("64bit", "casefold", "ea_inode", "encrypt", "fast_commit", "inline_data"),
    *("large_dir", "metadata_csum", "metadata_csum_seed", "orphan_file", "project", "quota"),
    *("stable_inodes", "verity"),
)
# As the kernel's documentation assigns them.
_KNOWN_COMPATIBLE = frozenset(
    {
        *("dir_prealloc", "imagic_inodes", "has_journal", "ext_attr", "resize_inode", "dir_index"),
        *("lazy_bg", "snapshot_bitmap", "exclude_bitmap", "sparse_super2", "fast_commit"),
        *("stable_inodes", "orphan_file"),
    }
)
_KNOWN_READ_ONLY_COMPATIBLE = frozenset(
    {
        *("sparse_super", "large_file", "btree_dir", "huge_file", "uninit_bg", "dir_nlink"),
        *("extra_isize", "snapshot", "quota", "bigalloc", "metadata_csum", "replica", "read-only"),
        *("project", "shared_blocks", "verity"),
    }
)
# Features that mke2fs does not create without another one.
_NEEDED = {"metadata_csum_seed": "metadata_csum"}
# What changes while a file system is used, or where mke2fs puts its own files.
_CHANGING = frozenset(
    {
        "Checksum",
        "Checksum seed",
        "Filesystem created",
        "Filesystem state",
        "First orphan inode",
        "Free blocks",
        "Free inodes",
        "Group quota inode",
        "Journal backup",
        "Journal checksum",
        "Journal checksum type",
        "Journal errno",
        "Journal features",
        "Journal sequence",
        "Journal start",
        "Last checked",
        "Last mount time",
        "Last write time",
        "Lifetime writes",
        "MMP block number",
        "Mount count",
        "Next check after",
        "Orphan file inode",
        "Overhead blocks",
        "Overhead clusters",
        "Project quota inode",
        "User quota inode",
    }
)
_CHANGING_KINDS = ("mmp_", "FS Error", "First error", "Last error")
# Of these values, dumpe2fs also prints a translation.
_TRANSLATED = frozenset({"Check interval", "Reserved blocks gid", "Reserved blocks uid"})
# What each file system has for itself, and no option depends on.
OWN: Final = (
    *("Filesystem UUID", "Filesystem volume name", "Directory Hash Seed", "Last mounted on"),
    *("Journal UUID", "Reserved block count", "Checksum seed"),
)
# What depends on the size of the file system.
_SIZED = frozenset(
    {
        "Backup block groups",
        "Block count",
        "First meta block group",
        "Inode blocks per group",
        "Inode count",
        "Inodes per group",
        "Reserved GDT blocks",
        "Reserved block count",
    }
)
# What is calculated with.
NUMBERS: Final = (
    *("Block count", "Block size", "Inode count", "Reserved block count", BYTES_PER_INODE),
)
# What a small file system may not have room for.
_LARGE = frozenset(
    {
        *("Total journal blocks", "Fast commit length", "Flex block group size", "RAID stride"),
        *("RAID stripe width", "Blocks per group", "Clusters per group"),
    }
)
# The superblock, byte by byte; in it, the three words of features, and texts that a guest chooses.
_SUPERBLOCK = ("od", "--address-radix=n", "--output-duplicates", "--format=x1")
_SUPERBLOCK_AT = ("--skip-bytes=1024", "--read-bytes=1024")
_WORDS_AT = (0x5C, 0x60, 0x64)
_TEXTS_AT = {
    "Filesystem volume name": (0x78, 16),
    "Last mounted on": (0x88, 64),
    "First error function": (0x1A8, 32),
    "Last error function": (0x1E0, 32),
    "Mount options": (0x200, 64),
}
# After this line, the last ones are about the host that mounts the file system, such as its name.
_LAST = "\nMMP_block:\n"
# What mke2fs chooses itself if it is not told, and no file depends on.
LAYOUT: Final = (
    *("Total journal blocks", "Fast commit length", "Reserved GDT blocks", "RAID stride"),
    *("RAID stripe width", "Flex block group size", "MMP update interval", "Directory Hash Seed"),
)

PROGRAMS: Final = ("mkfs.ext4", "dumpe2fs", "tune2fs", "debugfs")
# What dumpe2fs says of a damaged file system: it reads the journal too, where the groups say.
_DAMAGE = re.compile(
    r"checksum|magic number|corrupt|missing an inode table|descriptor size|illegal inode",
    re.IGNORECASE,
)


def describe(runs: Privilege | MountNamespace, device: str) -> tuple[dict[str, str], str]:
    """What dumpe2fs says of a file system: values by name, and all of its text.

    :raises HostError: dumpe2fs cannot read it
    :raises DiskError: it is damaged, or dumpe2fs does not name each feature
    """
    text = _dumped(runs, device)
    block = bytes.fromhex(runs.run(*_SUPERBLOCK, *_SUPERBLOCK_AT, device))
    found = {}
    before, last, _ = _one_line_each(text, block).partition(_LAST)
    for line in f"{before}{last}".split("\n"):
        name, colon, value = line.partition(":")
        if colon and name == name.lstrip():
            found[name.strip()] = value.strip()
    for name in _TRANSLATED & found.keys():
        found[name] = found[name].split()[0]
    names = found.pop("Filesystem features", "").replace("(none)", "").split()
    # dumpe2fs names the bits in their order.
    counts = [int.from_bytes(block[at : at + 4], "little").bit_count() for at in _WORDS_AT]
    if sum(counts) != len(names):
        raise DiskError("dumpe2fs does not name each feature of the volume's file system.")
    for kind, count in zip(FEATURES, counts, strict=True):
        found[kind] = " ".join(name for name in names[:count] if name not in _STATES)
        names = names[count:]
    return found, text


def _dumped(runs: Privilege | MountNamespace, device: str) -> str:
    try:
        # Also if this dumpe2fs does not know a feature: the kernel may be newer.
        return runs.run("dumpe2fs", "-f", "-h", device)
    except NoProgressError:
        raise
    except HostError as error:
        # Above it is the version of dumpe2fs.
        last = str(error).rstrip().rpartition("\n")[2]
        if not _DAMAGE.search(last):
            raise
        reason = last.removeprefix("dumpe2fs: ").rstrip("!.")
        raise DiskError(
            f"The file system of the volume is damaged: {printable(reason)}. Run 'e2fsck -f' in "
            "the guest, then back it up again."
        ) from error


def _one_line_each(text: str, block: bytes) -> str:
    """What dumpe2fs has printed, where no text in the superblock can look like another line."""
    for name, (at, length) in _TEXTS_AT.items():
        chosen = os.fsdecode(block[at : at + length].split(b"\0", 1)[0])
        if "\n" in chosen:
            before, line, after = text.partition(f"{name}:")
            text = before + line + after.replace(chosen, printable(chosen), 1)
    return text


def size(values: Mapping[str, str]) -> int:
    """Bytes of a described file system."""
    return int(values.get("Block count", 0)) * int(values.get("Block size", 0))


def lasting(values: Mapping[str, str], *, same_size: bool) -> dict[str, str]:
    """The part of a description that a file system made again must have too."""
    return {
        name: value
        for name, value in values.items()
        if name not in _CHANGING
        and name not in (BYTES_PER_INODE, RESERVED_PERCENT)
        and not name.startswith(_CHANGING_KINDS)
        and (same_size or name not in _SIZED)
    }


def features(values: Mapping[str, str]) -> list[str]:
    """The names of all features."""
    return [name for kind in FEATURES for name in values.get(kind, "").split()]


def optional(values: Mapping[str, str]) -> list[str]:
    """The features that a kernel does not need to know in order to read the file system.

    Without those that another feature needs.
    """
    kinds = (COMPATIBLE, READ_ONLY_COMPATIBLE)
    needed = {_NEEDED.get(name) for name in values.get(INCOMPATIBLE, "").split()}
    return [name for kind in kinds for name in values.get(kind, "").split() if name not in needed]


def without(values: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """This description without some features."""
    left = {
        kind: " ".join(name for name in values[kind].split() if name not in names)
        for kind in FEATURES
        if kind in values
    }
    return {**values, **left}


def sample(values: Mapping[str, str]) -> dict[str, str]:
    """A description with the same features for a small file system."""
    # With multiple mount protection, each mount waits for seconds.
    found = without(values, ["mmp"])
    few = {BYTES_PER_INODE: str(max(16384, _per_inode(values)))}
    return {name: value for name, value in found.items() if name not in _SIZED | _LARGE} | few


def having(values: Mapping[str, str], name: str) -> dict[str, str]:
    """A description with one more feature."""
    more = {"casefold": {"Character encoding": "utf8"}}
    before = [*features(values), *(["quota"] if name == "project" else [])]
    return {**values, **classified(dict.fromkeys([*before, name])), **more.get(name, {})}


def classified(names: Iterable[str]) -> dict[str, str]:
    """Features by set, for a description that does not say it."""
    found: dict[str, list[str]] = {kind: [] for kind in FEATURES}
    for name in names:
        if name in _STATES:
            continue
        if name in _KNOWN_COMPATIBLE or name.startswith("FEATURE_C"):
            found[COMPATIBLE].append(name)
        elif name in _KNOWN_READ_ONLY_COMPATIBLE or name.startswith("FEATURE_R"):
            found[READ_ONLY_COMPATIBLE].append(name)
        else:
            found[INCOMPATIBLE].append(name)
    return {kind: " ".join(each) for kind, each in found.items()}


def last_mounted_on(values: Mapping[str, str]) -> str:
    """Where the file system was mounted last; empty if nowhere."""
    return _set(values, "Last mounted on")


def make(values: Mapping[str, str], uuid: str, label: str, *, same_size: bool) -> list[str]:
    """The options of mkfs.ext4 for a described file system.

    :param same_size: whether it becomes as large as the described one
    """
    given = {name: int(values[name]) for name in values if values[name].isdecimal()}
    block, known = given["Block size"], features(values)
    options = ["-F", "-O", ",".join(["none", *known]), "-b", str(block)]
    options += ["-m", values.get(RESERVED_PERCENT, "0")]
    options += ["-I", values.get("Inode size", "128"), "-U", uuid or "clear", "-L", label]
    options += ["-M", last_mounted_on(values), "-o", values.get("Filesystem OS type", "Linux")]
    if values.get("Filesystem revision #", "1").startswith("0"):
        options += ["-r", "0"]
    if same_size and "Inode count" in given:
        options += ["-N", values["Inode count"]]
    else:
        # There are no more inodes than blocks, or clusters.
        least = max(1024, block, given.get("Cluster size", 0) if "bigalloc" in known else 0)
        options += ["-i", str(min(max(least, _per_inode(values)), 2**26))]
    if "bigalloc" in known:
        options += ["-C", values["Cluster size"]]
    # A group has as many blocks, or clusters, as a block has bits.
    per_group = "Clusters per group" if "bigalloc" in known else "Blocks per group"
    if given.get(per_group, 8 * block) != 8 * block:
        options += ["-g", values[per_group]]
    if "Flex block group size" in given:
        options += ["-G", values["Flex block group size"]]
    elif "flex_bg" in known and "Block count" in given:
        # dumpe2fs does not print the size of one group.
        options += ["-G", "1"]
    journal = _journal(given, block) if "has_journal" in known else []
    options += ["-J", ",".join(journal)] if journal else []
    return [*options, "-E", ",".join(_extended(values, given, known, same_size=same_size))]


def _per_inode(values: Mapping[str, str]) -> int:
    found = size(values) // max(1, int(values.get("Inode count", 0)))
    return int(values.get(BYTES_PER_INODE, found))


def _journal(given: Mapping[str, int], block: int) -> list[str]:
    blocks, fast = given.get("Total journal blocks", 0), given.get("Fast commit length", 0)
    # In MiB and KiB.
    options = [f"size={max(1, (blocks - fast) * block // 2**20)}"] if blocks else []
    return options + ([f"fast_commit_size={fast * block // 1024}"] if fast else [])


def _extended(
    values: Mapping[str, str], given: Mapping[str, int], known: Iterable[str], *, same_size: bool
) -> list[str]:
    options = ["root_owner=0:0"]
    for name, option in (
        ("Directory Hash Seed", "hash_seed"),
        ("RAID stride", "stride"),
        ("RAID stripe width", "stripe_width"),
        ("MMP update interval", "mmp_update_interval"),
        ("Group descriptor size", "desc_size"),
        ("Character encoding", "encoding"),
    ):
        if values.get(name) and (name != "Character encoding" or "casefold" in known):
            options.append(f"{option}={word(values, name)}")
    if "sparse_super2" in known:
        options.append(f"num_backup_sb={len(values.get('Backup block groups', '').split())}")
    reserved = given.get("Reserved GDT blocks", 0)
    if same_size and reserved and "resize_inode" in known:
        # mke2fs takes the number of blocks that the file system may grow to, and counts as if a
        # group had no clusters.
        per_group = given.get("Clusters per group", given["Blocks per group"])
        in_block = given["Block size"] // given.get("Group descriptor size", 32)
        used = _up(_up(given["Block count"] - given["First block"], per_group), in_block)
        most = (used + reserved) * in_block * per_group
        if most < 2**32:
            options.append(f"resize={most}")
    return options


def alone(values: Mapping[str, str]) -> tuple[str, ...]:
    """The option with which tune2fs does not wait whether another host uses the file system.

    With multiple mount protection it otherwise waits for minutes, each time.
    """
    return ("-f",) if "mmp" in features(values) else ()


def tune(
    was: Mapping[str, str], now: Mapping[str, str], *, same_size: bool
) -> list[tuple[str, ...]]:
    """The commands, without the device, that make a new file system more like a described one."""
    tune2fs = ("tune2fs", *alone(now))
    found: list[tuple[str, ...]] = []
    for name, option, value in (
        ("Errors behavior", "-e", _ERRORS.get(was.get("Errors behavior", ""), "continue")),
        ("Maximum mount count", "-c", was.get("Maximum mount count", "-1")),
        ("Check interval", "-i", f"{was.get('Check interval', '0')}s"),
        ("Reserved blocks uid", "-u", was.get("Reserved blocks uid", "0")),
        ("Reserved blocks gid", "-g", was.get("Reserved blocks gid", "0")),
    ):
        if name in was and was[name] != now.get(name):
            found.append((*tune2fs, option, value))
    if "Reserved block count" in was:
        blocks = int(was["Reserved block count"])
        if not same_size:
            blocks = int(now["Block count"]) * blocks // max(1, int(was["Block count"]))
        if blocks != int(now.get("Reserved block count", 0)):
            found.append((*tune2fs, "-r", str(blocks)))
    defaults, present = (_words(each, "Default mount options") for each in (was, now))
    if "Default mount options" in was and defaults != present:
        changes = [*sorted(defaults - present), *(f"^{one}" for one in sorted(present - defaults))]
        found.append((*tune2fs, "-o", ",".join(changes)))
    if was.get("Default directory hash", "") not in ("", now.get("Default directory hash")):
        found.append((*tune2fs, "-E", f"hash_alg={word(was, 'Default directory hash')}"))
    flags, have = (_words(each, "Filesystem flags") for each in (was, now))
    if "test_filesystem" in flags - have:
        found.append((*tune2fs, "-E", "test_fs"))
    options = was.get("Mount options", "")
    if options != now.get("Mount options", "") and _WORD.fullmatch(options):
        # tune2fs takes only one mount option.
        found.append(("debugfs", "-w", "-R", f"ssv mount_opts {options}"))
    return found


# Mount options that debugfs takes for one word.
_WORD = re.compile(r"[\w=,.:/+-]+")
# As dumpe2fs prints it, and as tune2fs takes it.
_ERRORS = {"Continue": "continue", "Remount read-only": "remount-ro", "Panic": "panic"}


def _set(values: Mapping[str, str], name: str) -> str:
    found = values.get(name, "")
    return "" if found.startswith("<") else found


def _words(values: Mapping[str, str], name: str) -> set[str]:
    return set(values.get(name, "").replace("(none)", "").split())


def _up(number: int, by: int) -> int:
    return -(-number // by)
