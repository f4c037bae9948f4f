"""The options with which this host mounts the file systems of guests.

Guests are not trusted: nothing in a file system may act on this host. The superblock of ext4 asks
the kernel for options: what to do after an error (it can be to panic), the default options, and a
text with more of them. An option on the command line wins over the superblock's: ext4(5), and
``parse_apply_sb_mount_options`` in fs/ext4/super.c. So all that a superblock can ask for are given.
"""

from __future__ import annotations

from volflow.errors import DiskError
from volflow.printable import printable

_SAFE = ("nosuid", "nodev", "noexec")
# The driver of ext4 takes these for ext2 and ext3 too. ACLs and attributes belong to the files.
_EXT = (
    *("errors=remount-ro", "nodiscard", "delalloc", "barrier", "block_validity", "acl"),
    *("user_xattr", "nogrpid", "bsddf", "auto_da_alloc", "max_dir_size_kb=0"),
)
# Those that a file system without a journal cannot be mounted with.
_JOURNAL = ("data=ordered", "commit=5", "data_err=ignore")
# What the text in a superblock may ask for: what the options above undo ...
_UNDONE = (
    "errors discard nodiscard delalloc nodelalloc barrier nobarrier block_validity acl noacl "
    "noblock_validity user_xattr nouser_xattr grpid nogrpid bsdgroups sysvgroups bsddf minixdf "
    "auto_da_alloc noauto_da_alloc max_dir_size_kb data commit data_err"
)
# ... and what changes neither what is read nor how this host behaves.
_HARMLESS = (
    "debug dioread_lock dioread_nolock nodioread_nolock grpquota i_version init_itable "
    "inode_readahead_blks journal_checksum journal_ioprio max_batch_time mb_optimize_scan "
    "min_batch_time mblk_io_submit no_mbcache no_prefetch_block_bitmaps noinit_itable "
    "nojournal_checksum nombcache nomblk_io_submit noquota nouid32 oldalloc orlov "
    "prefetch_block_bitmaps prjquota quota resgid resuid stripe usrquota"
)


def options(fs_type: str, *, journal: bool, read_only: bool) -> list[str]:
    """Options for mount(8). The journal is replayed in either case.

    :param fs_type: ``ext2``, ``ext3``, ``ext4`` or ``xfs``
    :param journal: whether it has one; ext only
    """
    access = ["ro" if read_only else "rw", *_SAFE]
    if fs_type == "xfs":
        # This host may have mounted a volume with the same UUID.
        return [*access, "nouuid"]
    return [*access, *_EXT, *(_JOURNAL if journal else ())]


def require_known(asked: str) -> None:
    """Refuse options that this host can neither undo nor ignore.

    :param asked: the text in the superblock of an ext4, such as ``commit=30,nobarrier``
    :raises DiskError: it has such an option; names it
    """
    names = [option.partition("=")[0].strip() for option in asked.split(",")]
    known = {*_UNDONE.split(), *_HARMLESS.split()}
    unknown = [name for name in names if name and name not in known]
    if unknown:
        raise DiskError(
            f"The superblock of the volume's file system asks for mount options that volflow does "
            f"not accept: {', '.join(map(printable, unknown))}. In the guest, set others with "
            "'tune2fs -E mount_opts=OPTIONS DEVICE', then try again."
        )
