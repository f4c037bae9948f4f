"""All variants: those that were met, and combinations of options.

Combinations of options are drawn at random, so that options meet each other that nobody has thought
of together. Each value of an option also occurs alone.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping

from tests.filesystems.variant import DEVICE, MOUNT, Command, Variant, commands

# So many combinations of options for ext and for XFS, with those of one value alone.
EXT, XFS = 64, 54
SEED = 11

# Options of mke2fs, beside its defaults for the type.
_EXT_NAMED = {
    "with its defaults": "",
    "bigalloc with clusters of 128 KiB": "-O bigalloc -C 131072",
    "inline_data": "-O inline_data",
    "mmp": "-O mmp",
    "fast_commit": "-O fast_commit",
    "fast_commit with sizes": "-O fast_commit -J size=32,fast_commit_size=2048",
    "uninit_bg": "-O ^metadata_csum,uninit_bg",
    "many old things": "-O ^64bit,^metadata_csum,^extra_isize,^huge_file,^dir_nlink -I 128",
    "no features at all": "-O none",
    "no filetype and no large_file": "-O ^filetype,^large_file",
    "no dir_index": "-O ^dir_index",
    "no ext_attr": "-O ^ext_attr",
    "no sparse_super": "-O ^sparse_super,^resize_inode",
    "no extent": "-O ^extent,^64bit",
    "no flex_bg": "-O ^flex_bg",
    "no 64bit": "-O ^64bit",
    "metadata_csum_seed": "-O metadata_csum_seed",
    "stable_inodes": "-O stable_inodes",
    "large_dir": "-O large_dir",
    "ea_inode": "-O ea_inode",
    "encrypt": "-O encrypt",
    "verity": "-O verity",
    "orphan_file": "-O orphan_file",
    "largefile4": "-T largefile4",
    "news": "-T news",
    "of the Hurd": "-o hurd -I 128",
    "quota": "-O quota",
    "quota and a seed": "-O quota,metadata_csum_seed",
    "project": "-O quota,project -E quotatype=prjquota -I 256",
    "casefold": "-O casefold",
    "casefold, strict": "-O casefold -E encoding=utf8-12.1,encoding_flags=strict",
    "blocks of 64 KiB": "-b 65536",
    "packed_meta_blocks": "-G 1 -E resize=2g,packed_meta_blocks=1",
    "a resize limit": "-E resize=5242880",
    "no room to grow": "-O ^resize_inode",
    "few inodes": "-N 2000 -m 0 -J size=4",
    "many inodes": "-i 2048",
    "a hash seed": "-E hash_seed=5b2fd5e2-3a5f-4a0a-9c1f-6d1d0e8f4c11",
    "a UUID that is hardly one": "-U 00000000-0000-0000-0000-000000000001",
    "groups of 8192 blocks": "-g 8192",
    "a root of another owner": "-E root_owner=1000:1000",
    "a journal of 256 MiB": "-J size=256",
}
# What is done to an ext4 before it gets its files.
_EXT_TUNED = {
    "checked after 30 mounts": "tune2fs -c 30 -i 180d DEVICE",
    "errors=remount-ro": "tune2fs -e remount-ro DEVICE",
    "errors=panic": "tune2fs -e panic DEVICE",
    "reserved for 1000": "tune2fs -r 1000 -u 1000 -g 1000 DEVICE",
    "default mount options": "tune2fs -o journal_data,nobarrier DEVICE",
    "other default mount options": "tune2fs -o ^acl,^user_xattr,journal_data_writeback DEVICE",
    "mount_opts": "tune2fs -E mount_opts=commit=30 DEVICE",
    "hash tea": "tune2fs -E hash_alg=tea DEVICE",
    "hash legacy": "tune2fs -E hash_alg=legacy DEVICE",
    "test_fs": "tune2fs -E test_fs DEVICE",
    "no UUID": "tune2fs -U clear DEVICE",
    "a new UUID": "tune2fs -U random DEVICE",
    "mounted elsewhere": "tune2fs -M /srv/data DEVICE",
    "no journal any more": "tune2fs -O ^has_journal DEVICE",
    "a journal since later": "tune2fs -O ^has_journal DEVICE; tune2fs -j -J size=8 DEVICE",
    "grown from 64 MiB": "mke2fs -t ext4 -q -F DEVICE 64M; resize2fs DEVICE",
    "grown twice": "mke2fs -t ext4 -q -F DEVICE 80M; resize2fs DEVICE 300M; resize2fs DEVICE 901M",
    "shrunk": "resize2fs DEVICE 256M",
    "shrunk to what it needs": "resize2fs -M DEVICE; resize2fs DEVICE 100M",
    "of an odd number of blocks": "mke2fs -t ext4 -q -F DEVICE 777773k",
    "to 32 bits and back": "resize2fs -s DEVICE; resize2fs -b DEVICE",
    "reserved 17.5 %": "mke2fs -t ext4 -q -F -m 17.5 DEVICE",
}
# What is done to it when it has its files; then this kernel may not mount it.
_EXT_AFTERWARDS = {
    "FEATURE_C15": "debugfs -w -R feature+FEATURE_C15 DEVICE",
    "FEATURE_R29": "debugfs -w -R feature+FEATURE_R29 DEVICE",
    "FEATURE_I20": "debugfs -w -R feature+FEATURE_I20 DEVICE",
    "dir_prealloc": "debugfs -w -R feature+dir_prealloc DEVICE",
    "imagic_inodes": "debugfs -w -R feature+imagic_inodes DEVICE",
    "lazy_bg": "debugfs -w -R feature+lazy_bg DEVICE",
    "snapshot_bitmap": "debugfs -w -R feature+snapshot_bitmap DEVICE",
    "replica": "debugfs -w -R feature+replica DEVICE",
    "dirdata": "debugfs -w -R feature+dirdata DEVICE",
    "compression": "debugfs -w -R feature+compression DEVICE",
    "read-only": "tune2fs -O read-only DEVICE",
    "shared_blocks": "debugfs -w -R feature+shared_blocks DEVICE",
    "quota since later": "tune2fs -O quota DEVICE",
    "with errors": "debugfs -w -R ssv+state+2 DEVICE",
}
_EXT_LABELS = ("", "a\tb c", "-L", "x'\"\\$(id)", "schön", "a" * 16)

_XFS_NAMED = {
    "with its defaults": "",
    "crc=0": "-m crc=0 -i size=256",
    "version=ci": "-n version=ci",
    "crc=0, ci": "-m crc=0 -n version=ci",
    "ftype=0": "-m crc=0 -n ftype=0",
    "lazy-count=0": "-m crc=0 -l lazy-count=0",
    "attr=1": "-m crc=0 -i attr=1",
    "projid32bit=0": "-m crc=0 -i projid32bit=0",
    "only rmapbt": "-m rmapbt=1,reflink=0,bigtime=0,inobtcount=0",
    "no finobt": "-m finobt=0,inobtcount=0",
    "a UUID": "-m uuid=6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "two groups": "-d agcount=2",
    "one odd group": "-d agsize=400m",
    "a log in group 1": "-l agnum=1",
    "blocks of 64 KiB": "-b size=65536",
    "blocks of 512 bytes": "-b size=512 -m crc=0",
    "a stripe wider than it": "-d sunit=256,swidth=2048",
    "a small log": "--unsupported -l size=16m",
    "smaller than it can be": "--unsupported -d size=100m",
    "inherited extent size": "-d extszinherit=16",
    "inherited project": "-d projinherit=7",
    "inherited cowextsize": "-d cowextsize=16",
    "inherited realtime": "-d rtinherit=1",
}
_XFS_TUNED = {
    "nil UUID": "xfs_admin -U nil DEVICE",
    "new UUID": "xfs_admin -U generate DEVICE",
    "new label": "xfs_admin -L later DEVICE",
    "bigtime since later": "mkfs.xfs -q -f -m bigtime=0 DEVICE; xfs_admin -O bigtime=1 DEVICE",
}
_XFS_AFTERWARDS = {
    "an incompatible feature": "xfs_db -x -c sb+0 -c write+-d+features_incompat+0x403 DEVICE",
    "exchange of newer tools": "xfs_db -x -c sb+0 -c write+-d+features_incompat+0x4b DEVICE",
    "parent of newer tools": "xfs_db -x -c sb+0 -c write+-d+features_incompat+0x8b DEVICE",
    "gaps of newer tools": "xfs_db -x -c sb+0 -c write+-d+features_incompat+0x40b DEVICE",
    "a read-only feature": "xfs_db -x -c sb+0 -c write+-d+features_ro_compat+0x20d DEVICE",
}
_XFS_LABELS = ('a b"c', "-L", "x=y,z", "ü")

Choices = Mapping[str, Mapping[str, str]]

_EXT_CHOICES: Choices = {
    "type": {"ext2": "-t ext2", "ext3": "-t ext3", "": "-t ext4"},
    "block": {"": "", "1k": "-b 1024", "2k": "-b 2048"},
    "inode": {"": "", "I128": "-I 128", "I512": "-I 512", "I1024": "-I 1024"},
    "journal": {
        "": "",
        "no journal": "-O ^has_journal",
        "J4": "-J size=4",
        "J64": "-J size=64",
        "fast_commit": "-O fast_commit",
    },
    "cluster": {"": "", "C16k": "-O bigalloc -C 16384", "C64k": "-O bigalloc -C 65536"},
    "reserved": {"": "", "m0": "-m 0", "m1.3": "-m 1.3"},
    "stripe": {"": "", "striped": "-E stride=16,stripe_width=64", "stride": "-E stride=7"},
    "layout": {
        "": "",
        "meta_bg": "-O meta_bg,^resize_inode",
        "sparse_super2": "-O sparse_super2,^resize_inode",
        "one backup": "-O sparse_super2,^resize_inode -E num_backup_sb=1",
        "G64": "-G 64",
    },
    "features": {
        "": "",
        "inline_data": "-O inline_data",
        "metadata_csum_seed": "-O metadata_csum_seed",
        "orphan_file": "-O orphan_file",
        "^64bit": "-O ^64bit",
        "^metadata_csum": "-O ^metadata_csum",
        "N3000": "-N 3000",
    },
    "size": {"": "", "700 MiB": "700M", "grown": "96M", "shrunk": ""},
    "identity": {"": "", "no UUID": "", "labelled": ""},
    "state": {"": "", "crashed": ""},
}
_XFS_CHOICES: Choices = {
    "block": {"": "", "1k": "-b size=1024", "2k": "-b size=2048", "16k": "-b size=16384"},
    "inode": {"": "", "isize=1024": "-i size=1024", "isize=2048": "-i size=2048"},
    "sector": {"": "", "sectors of 4k": "-s size=4096"},
    "log": {"": "", "log=100m": "-l size=100m", "log su": "-l su=32k"},
    "naming": {"": "", "n8k": "-n size=8192", "n64k": "-n size=65536"},
    "groups": {"": "", "agcount=7": "-d agcount=7", "agcount=12": "-d agcount=12"},
    "stripe": {"": "", "su": "-d su=64k,sw=2", "wide": "-d su=128k,sw=4"},
    "features": {
        "": "",
        "rmapbt": "-m rmapbt=1",
        "^reflink": "-m reflink=0",
        "^bigtime": "-m bigtime=0",
        "^inobtcount": "-m inobtcount=0",
        "^finobt": "-m finobt=0,inobtcount=0",
    },
    "inodes": {"": "", "nrext64": "-i nrext64=1", "^sparse": "-i sparse=0"},
    "maxpct": {"": "", "maxpct=5": "-i maxpct=5", "maxpct=60": "-i maxpct=60"},
    "realtime": {"": "", "extsize=64k": "-r extsize=64k"},
    "size": {"": "", "500 MiB": "-d size=500m", "grown": "-d size=320m", "partly": "-d size=320m"},
    "identity": {"": "", "nil UUID": "", "labelled": ""},
    "state": {"": "", "crashed": ""},
}


def all_variants(seed: int = SEED) -> list[Variant]:
    """All variants, in the same order for the same seed."""
    drawn = random.Random(seed)
    found = [*_ext_named(), *_xfs_named()]
    for choices, build, can_be, count in (
        (_EXT_CHOICES, _ext, _can_be_ext, EXT),
        (_XFS_CHOICES, _xfs, _can_be_xfs, XFS),
    ):
        combinations = itertools.chain(_alone(choices), _drawn(choices, drawn))
        found += map(build, itertools.islice(filter(can_be, combinations), count))
    return list({str(variant): variant for variant in found}.values())


def few_variants() -> list[Variant]:
    """One variant of each class."""
    wanted = (
        *("ext2 I128", "ext4 grown from 64 MiB", "ext4 mount_opts", "ext4 FEATURE_R29"),
        *("ext4 orphan_file, crashed", "xfs log su, nrext64, grown", "xfs nil UUID"),
        "xfs an incompatible feature",
    )
    few = [
        _ext({**_first(_EXT_CHOICES), "type": "ext2", "inode": "I128"}),
        _ext({**_first(_EXT_CHOICES), "features": "orphan_file", "state": "crashed"}),
        _xfs({**_first(_XFS_CHOICES), "log": "log su", "inodes": "nrext64", "size": "grown"}),
    ]
    known = {str(variant): variant for variant in (*all_variants(), *few)}
    return [known[name] for name in wanted]


def _first(choices: Choices) -> dict[str, str]:
    return dict.fromkeys(choices, "")


def _alone(choices: Choices) -> Iterator[dict[str, str]]:
    """Each value of each option, with the others left out."""
    for option, values in choices.items():
        for value in values:
            if value:
                yield {**_first(choices), option: value}


def _drawn(choices: Choices, drawn: random.Random) -> Iterator[dict[str, str]]:
    """Combinations without end. About half of the options are left out."""
    for _ in itertools.count():
        yield {
            option: drawn.choice([each for each in values if each]) if drawn.random() < 0.5 else ""
            for option, values in choices.items()
        }


def _can_be_ext(chosen: Mapping[str, str]) -> bool:
    """Whether mke2fs can make it, and its type is still the one that it is named by."""
    journal, features = chosen["journal"], chosen["features"]
    unjournaled = journal == "no journal" or chosen["type"] == "ext2"
    if unjournaled and (chosen["state"] or features == "orphan_file"):
        return False
    if features == "inline_data" and chosen["inode"] == "I128":
        return False
    if (journal, chosen["size"]) == ("J64", "grown") or (chosen["cluster"], chosen["size"]) in (
        ("C16k", "shrunk"),
        ("C64k", "shrunk"),
    ):
        return False
    if not chosen["type"]:
        return True
    allowed = {"ext2": ("",), "ext3": ("", "J4", "J64")}[chosen["type"]]
    if chosen["layout"] == "G64":
        return False
    return journal in allowed and not chosen["cluster"] and features in ("", "N3000")


def _can_be_xfs(chosen: Mapping[str, str]) -> bool:
    """Whether mkfs.xfs can make it."""
    block, log = chosen["block"], chosen["log"]
    if block in ("1k", "2k") and (chosen["sector"] or chosen["inode"] == "isize=2048"):
        return False
    if (block, chosen["inode"]) == ("1k", "isize=1024") or (block, chosen["naming"]) == (
        "16k",
        "n8k",
    ):
        return False
    # The log has to fit into one group, and is at least as large as 64 MiB.
    if log == "log=100m":
        return not (chosen["groups"] or chosen["size"])
    return not (chosen["size"] and (chosen["stripe"] or chosen["groups"]))


def _ext_named() -> Iterator[Variant]:
    mke2fs = "mke2fs -t ext4 -q -F"
    for name, options in _EXT_NAMED.items():
        yield Variant(name, "ext4", commands(f"{mke2fs} {options} {DEVICE}"))
    for name, more in _EXT_TUNED.items():
        yield Variant(name, "ext4", commands(f"{mke2fs} {DEVICE}; {more}"))
    for name, more in _EXT_AFTERWARDS.items():
        made = commands(f"{mke2fs} {DEVICE}")
        yield Variant(name, "ext4", made, afterwards=_spaced(more))
    for label in _EXT_LABELS:
        made = ((*mke2fs.split(), "-L", label, DEVICE),)
        yield Variant(f"label {label!r}", "ext4", made)
    for kind in ("ext2", "ext3"):
        made = commands(f"mke2fs -t {kind} -q -F {DEVICE}")
        yield Variant("with its defaults", kind, made)
    yield Variant("revision 0", "ext2", commands(f"mke2fs -t ext2 -q -F -r 0 {DEVICE}"))
    yield Variant("crashed", "ext4", commands(f"{mke2fs} {DEVICE}"), crashed=True)


def _xfs_named() -> Iterator[Variant]:
    mkfs = "mkfs.xfs -q -f"
    for name, options in _XFS_NAMED.items():
        yield Variant(name, "xfs", commands(f"{mkfs} {options} {DEVICE}"))
    for name, more in _XFS_TUNED.items():
        yield Variant(name, "xfs", commands(f"{mkfs} {DEVICE}; {more}"))
    for name, more in _XFS_AFTERWARDS.items():
        yield Variant(name, "xfs", commands(f"{mkfs} {DEVICE}"), afterwards=_spaced(more))
    for label in _XFS_LABELS:
        yield Variant(f"label {label!r}", "xfs", ((*mkfs.split(), "-L", label, DEVICE),))
    shrink = commands(f"xfs_growfs -D 250000 {MOUNT}")
    yield Variant("shrunk", "xfs", commands(f"{mkfs} {DEVICE}"), inside=shrink)


def _spaced(text: str) -> tuple[Command, ...]:
    """Commands, with a plus sign for a space inside a word."""
    return tuple(tuple(word.replace("+", " ") for word in one) for one in commands(text))


def _name(chosen: Mapping[str, str]) -> str:
    return ", ".join(value for option, value in chosen.items() if value and option != "type")


def _ext(chosen: Mapping[str, str]) -> Variant:
    kind = chosen["type"] or "ext4"
    told = [_EXT_CHOICES[option][chosen[option]].split() for option in _EXT_CHOICES]
    *options, size, _, _ = told
    words = _joined([word for each in options for word in each])
    make: list[Command] = [("mke2fs", "-q", "-F", *words, DEVICE, *size)]
    if chosen["size"] == "grown":
        make.append(("resize2fs", "-f", DEVICE))
    if chosen["size"] == "shrunk":
        make.append(("resize2fs", "-f", DEVICE, "600M"))
    if chosen["identity"] == "no UUID":
        make.append(("tune2fs", "-U", "clear", DEVICE))
    if chosen["identity"] == "labelled":
        make.append(("tune2fs", "-L", "a 'b' -c", DEVICE))
    crashed = chosen["state"] == "crashed"
    return Variant(_name(chosen) or "with its defaults", kind, tuple(make), crashed=crashed)


def _joined(words: list[str]) -> list[str]:
    """Options of mke2fs, with the values of -O and of -E in one, as the last one counts."""
    lists: dict[str, list[str]] = {"-O": [], "-E": []}
    found = []
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option in lists:
            lists[option].append(value)
        else:
            found += [option, value]
    for option, values in lists.items():
        found += [option, ",".join(values)] if values else []
    return found


def _xfs(chosen: Mapping[str, str]) -> Variant:
    lists: dict[str, list[str]] = {}
    for option in _XFS_CHOICES:
        words = _XFS_CHOICES[option][chosen[option]].split()
        if words:
            lists.setdefault(words[0], []).append(words[1])
    options = [word for option, values in lists.items() for word in (option, ",".join(values))]
    make: list[Command] = [("mkfs.xfs", "-q", "-f", *options, DEVICE)]
    if chosen["identity"] == "nil UUID":
        make.append(("xfs_admin", "-U", "nil", DEVICE))
    if chosen["identity"] == "labelled":
        make.append(("xfs_admin", "-L", "a-b=c,d", DEVICE))
    inside = {
        "grown": commands(f"xfs_growfs {MOUNT}"),
        "partly": commands(f"xfs_growfs -D {_partly(chosen)} {MOUNT}"),
    }.get(chosen["size"], ())
    crashed = chosen["state"] == "crashed"
    name = _name(chosen) or "with its defaults"
    return Variant(name, "xfs", tuple(make), inside=inside, crashed=crashed)


def _partly(chosen: Mapping[str, str]) -> int:
    """The blocks of about 700 MiB."""
    block = {"1k": 1024, "2k": 2048, "16k": 16384}.get(chosen["block"], 4096)
    return 700 * 1024**2 // block
