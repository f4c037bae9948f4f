"""XFS, which xfs_db(8) describes, and mkfs.xfs(8) and xfs_admin(8) create.

A description has every value that the command ``info`` of xfs_db prints, which is what xfs_info(8)
prints of a mounted file system, and the fields of the superblock that are no sizes or states.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from volflow.disk.description import word
from volflow.errors import DiskError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

PROGRAMS: Final = ("mkfs.xfs", "xfs_db", "xfs_admin")

# The fields of the superblock that ``info`` does not print, and that describe the file system.
_FIELDS = (
    *("versionnum", "features2", "features_compat", "features_ro_compat", "features_incompat"),
    *("flags", "shared_vn", "inoalignmt", "spino_align"),
)
# What is calculated with.
NUMBERS: Final = ("data.blocks", "data.bsize")
# Where the new file system's own layout decides.
_SIZED = frozenset({"meta-data.agcount", "meta-data.agsize", "data.blocks", "realtime.rtextents"})
# What a small file system may not have room for.
_LARGE = frozenset(
    {"data.sunit", "data.swidth", "log.blocks", "log.sunit", "log.sectsz", "realtime.extsz"}
)
# What mkfs.xfs chooses itself if it is not told, and no file depends on.
LAYOUT: Final = (
    *("log.blocks", "log.sunit", "log.sectsz", "meta-data.agsize", "data.sunit", "data.imaxpct"),
    *("naming.bsize", "realtime.extsz"),
)
# Those that mkfs.xfs began to add unasked after a release of volflow that did not record them.
_YOUNG = ("meta-data.nrext64", "meta-data.exchange", "meta-data.metadir", "naming.parent")
# Features that a host may lack.
TRIED: Final = ("bigtime", "exchange", "inobtcount", "nrext64", "parent", "reflink", "rmapbt")
# The features that mkfs.xfs takes by name: the name in ``info``, the option, the name there.
_FEATURES = (
    ("meta-data.crc", "-m", "crc"),
    ("meta-data.finobt", "-m", "finobt"),
    ("meta-data.rmapbt", "-m", "rmapbt"),
    ("meta-data.reflink", "-m", "reflink"),
    ("meta-data.bigtime", "-m", "bigtime"),
    ("meta-data.inobtcount", "-m", "inobtcount"),
    ("meta-data.metadir", "-m", "metadir"),
    ("meta-data.sparse", "-i", "sparse"),
    ("meta-data.nrext64", "-i", "nrext64"),
    ("meta-data.exchange", "-i", "exchange"),
    ("meta-data.attr", "-i", "attr"),
    ("meta-data.projid32bit", "-i", "projid32bit"),
    ("naming.ftype", "-n", "ftype"),
    ("naming.parent", "-n", "parent"),
    ("log.lazy-count", "-l", "lazy-count"),
)
# Those without which the same files can be stored: how space, inodes, directories and extents are
# counted and found (xfs_format.h of the Linux kernel).
_OPTIONAL = frozenset(
    {"finobt", "rmapbt", "reflink", "inobtcount", "nrext64", "exchange", "parent", "metadir"}
)
# Bits that tell what has happened to a file system, and that mkfs.xfs does not set: an attribute or
# quotas were used (XFS_SB_VERSION_ATTRBIT and _QUOTABIT), the UUID was changed
# (XFS_SB_FEAT_INCOMPAT_META_UUID), a repair is needed (XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR).
_STATES = {"superblock.versionnum": 0x10 | 0x40, "superblock.features_incompat": 0x4 | 0x10}
# The bits of features, in words of the superblock, and the names that ``info`` has for them.
_BITS = {
    "superblock.features_ro_compat": {
        0x1: "meta-data.finobt",
        0x2: "meta-data.rmapbt",
        0x4: "meta-data.reflink",
        0x8: "meta-data.inobtcount",
    },
    "superblock.features_incompat": {
        0x1: "naming.ftype",
        0x2: "meta-data.sparse",
        0x8: "meta-data.bigtime",
        0x20: "meta-data.nrext64",
        0x40: "meta-data.exchange",
        0x80: "naming.parent",
        0x100: "meta-data.metadir",
    },
}
# mkfs.xfs makes smaller logs and file systems only with an option for its own tests.
_LEAST_LOG, _LEAST = 64 * 1024**2, 300 * 1024**2
_SECTOR = 512
_NIL = "00000000-0000-0000-0000-000000000000"


def describe(runs: Privilege | MountNamespace, device: str) -> tuple[dict[str, str], str]:
    """What xfs_db says of a file system: values by section and name, and all of its text.

    :raises HostError: xfs_db cannot read it
    :raises DiskError: it does not say what a file system cannot be made without
    """
    info = runs.run("xfs_db", "-r", "-c", "info", device)
    superblock = runs.run("xfs_db", "-r", "-c", "sb 0", "-c", "print", device)
    found = geometry(info)
    fields = dict(re.findall(r"^(\w+) = (\S+)", superblock, re.MULTILINE))
    found |= {f"superblock.{name}": fields[name] for name in _FIELDS if name in fields}
    # An xfs_db that does not know a feature prints only its bit: the kernel may be newer.
    for field, names in _BITS.items():
        bits = int(found.get(field, "0"), 16)
        found |= {name: "1" for bit, name in names.items() if bits & bit and name not in found}
    for name in ("data.bsize", "data.blocks", "meta-data.isize", "log.blocks"):
        if not found.get(name, "").isdecimal():
            raise DiskError(f"xfs_db does not say the {name} of the volume's XFS.")
    return found, f"{info}\n{superblock}"


def geometry(info: str) -> dict[str, str]:
    """The values that xfs_info, xfs_db and mkfs.xfs print of a file system."""
    found, section = {}, ""
    for line in info.splitlines():
        head, equals, rest = line.partition("=")
        if not equals:
            continue
        section = head.strip() or section
        end = _PAIRS.search(rest)
        pairs = end[0] if end else ""
        what = rest.removesuffix(pairs)
        if head.strip() and section != "meta-data":  # there it is the name of the device
            found[section] = what.strip()
        found |= {f"{section}.{name}": value for name, value in _PAIR.findall(pairs)}
    return found


# The pairs are at the end of a line. A name before them may look like one.
_PAIR = re.compile(r"[ ,]([\w-]+)=(\w+)")
_PAIRS = re.compile(r"(?:[ ,]+[\w-]+=\w+(?: blks)?)*$")


def size(values: Mapping[str, str]) -> int:
    """Bytes of a described file system."""
    return int(values.get("data.blocks", 0)) * int(values.get("data.bsize", 0))


def lasting(values: Mapping[str, str], *, same_size: bool) -> dict[str, str]:
    """The part of a description that a file system made again must have too."""
    found = {name: value for name, value in values.items() if same_size or name not in _SIZED}
    for field, states in _STATES.items():
        if field in found:
            found[field] = hex(int(found[field], 16) & ~states)
    return found


def features(values: Mapping[str, str]) -> list[str]:
    """The names of all features that mkfs.xfs takes by name."""
    return [name.rpartition(".")[2] for name, _, _ in _FEATURES if values.get(name) == "1"]


def optional(values: Mapping[str, str]) -> list[str]:
    """The features without which the same files can be stored."""
    return [name for name in features(values) if name in _OPTIONAL]


def nameless(values: Mapping[str, str]) -> list[str]:
    """Features that mkfs.xfs has no name for."""
    found = []
    for field, names in _BITS.items():
        known = sum(names) | _STATES.get(field, 0)
        if unknown := int(values.get(field, "0"), 16) & ~known:
            found.append(f"{field.removeprefix('superblock.')} {unknown:#x}")
    return found


def without(values: Mapping[str, str], names: Collection[str], *, known: bool) -> dict[str, str]:
    """This description without some features.

    :param known: whether mkfs.xfs knows their names
    """
    features = [name for name, _, _ in _FEATURES if name.rpartition(".")[2] in names]
    left = {name: value for name, value in values.items() if name not in features}
    return left | (dict.fromkeys(features, "0") if known else {})


def unasked(values: Mapping[str, str], said: str) -> dict[str, str]:
    """The features, with the value 0, that a newer mkfs.xfs adds to a file system without them.

    :param said: what mkfs.xfs has printed
    """
    made = geometry(said)
    return {name: "0" for name in _YOUNG if made.get(name) == "1" and name not in values}


def having(values: Mapping[str, str], name: str) -> dict[str, str]:
    """A description with one more feature."""
    return {**values, **{each: "1" for each, _, _ in _FEATURES if each.endswith(f".{name}")}}


def sample(values: Mapping[str, str]) -> dict[str, str]:
    """A description with the same features for a small file system."""
    return {name: value for name, value in values.items() if name not in _SIZED | _LARGE}


def make(
    values: Mapping[str, str], uuid: str, label: str, *, same_size: bool, size: int
) -> list[str]:
    """The options of mkfs.xfs for a described file system.

    :param same_size: whether it becomes as large as the described one
    :param size: bytes that it gets
    """
    number = {name: int(value) for name, value in values.items() if value.isdecimal()}
    block = number["data.bsize"]
    options: dict[str, list[str]] = {
        "-b": [f"size={block}"],
        "-s": [f"size={number.get('meta-data.sectsz', _SECTOR)}"],
        "-m": [f"uuid={word({'UUID': uuid}, 'UUID')}"] if uuid not in ("", _NIL) else [],
        "-i": [f"size={number['meta-data.isize']}"],
        "-d": [f"size={size}"],
        "-n": [f"size={number['naming.bsize']}"] if "naming.bsize" in number else [],
        "-l": [],
        "-r": [],
    }
    for name, option, key in _FEATURES:
        if name in values:
            options[option].append(f"{key}={word(values, name)}")
    # With checksums, mkfs.xfs always aligns inodes.
    if values.get("superblock.inoalignmt") == "0" and values.get("meta-data.crc") == "0":
        options["-i"].append("align=0")
    if "data.imaxpct" in values:
        options["-i"].append(f"maxpct={word(values, 'data.imaxpct')}")
    if same_size and "meta-data.agsize" in number:
        options["-d"].append(f"agsize={number['meta-data.agsize'] * block}")
    unit, width = number.get("data.sunit", 0), number.get("data.swidth", 0)
    if unit and width:
        options["-d"] += [f"sunit={unit * block // _SECTOR}", f"swidth={width * block // _SECTOR}"]
    else:
        options["-d"].append("noalign")
    if values.get("naming.ascii-ci") == "1":
        options["-n"].append("version=ci")
    log = number.get("log.blocks", 0) * block
    if log:
        options["-l"].append(f"size={log}")
    if "log.version" in values:
        options["-l"].append(f"version={word(values, 'log.version')}")
    if number.get("log.sectsz", 0) > _SECTOR:
        options["-l"].append(f"sectsize={number['log.sectsz']}")
    if number.get("log.sunit"):
        options["-l"].append(f"sunit={number['log.sunit'] * block // _SECTOR}")
    if number.get("realtime.extsz"):
        options["-r"].append(f"extsize={number['realtime.extsz']}")
    small = size < _LEAST or 0 < log < _LEAST_LOG
    found = ["--unsupported"] if small else []
    found += ["-f", *(["-L", label] if label else [])]
    for option, each in options.items():
        if each:
            found += [option, ",".join(each)]
    return found
