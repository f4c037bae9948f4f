"""Makes room on a volume for a restore over existing files.

A restore must not write through a link that a guest has left, and must not add to an existing file.
So everything is removed that the backup has too, except directories that are directories in the
backup: they keep what the backup does not have.

The flags *immutable* and *append-only* (``chattr +i``, ``+a``) are lifted from what is removed, and
from the directories that are written to. Directories that stay get theirs back after the restore.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``clearing.py TREE`` reads from its standard input the paths of the backup, each
with a byte before it that says what it is (``d`` for a directory) and a zero byte after it, a
directory before its contents; it prints the removed paths that had such a flag as a JSON list.
``clearing.py TREE extra`` removes everything else: what the backup does not have. There ``s`` is a
path that stays with everything below it.  ``clearing.py TREE flags`` prints the flags of the
directories that have any, as a JSON object, and changes nothing;  ``clearing.py TREE set`` reads
such an object and sets these flags: it prints the reason for each path where it could not.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import runpy
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
# Belongs to the policy of this host, and cannot be removed.
_KEPT = "security.selinux"
# ioctl_iflags(2): FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, and FS_IMMUTABLE_FL | FS_APPEND_FL.
_GET, _SET, _LIFTED = 0x80086601, 0x40086602, 0x10 | 0x20
_NO_TREE = "this directory is also at another path: check and repair the file system with fsck"
_NO_FLAGS = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def clear(tree: str, entries: Iterable[tuple[str, bool]]) -> list[str]:
    """Make room for these paths of a tree.

    :param entries: each path, and whether it is a directory; an empty path is the tree itself
    :returns: the removed paths that were immutable or append-only
    :raises OSError: a path leads out of the tree, or something cannot be removed; it names the path
    """
    flagged: list[str] = []
    writable: str | None = None
    with _Parents(tree) as parents:
        for path, directory in entries:
            with _at(path):
                if not path:
                    _bare(os.open(tree, os.O_RDONLY | os.O_DIRECTORY))
                    continue
                above, _, name = path.rpartition("/")
                parent = parents.open(above)
                if parent is None:
                    continue
                _check(name)
                if above != writable:
                    # Something is removed from it, or restored into it.
                    with _at(above):
                        _lift_at(parent)
                    writable = above
                try:
                    status = os.lstat(name, dir_fd=parent)
                except FileNotFoundError:
                    continue
                if directory and stat.S_ISDIR(status.st_mode):
                    _bare(os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=parent))
                else:
                    _remove(parent, name, path, flagged)
    return flagged


def remove_extra(tree: str, entries: Iterable[tuple[str, str]]) -> None:
    """Remove what is not among these paths of a tree.

    A directory that stays keeps its flags.

    :param entries: each path, and what it is: ``d`` for a directory, ``s`` for a path that stays
        with everything below it, and ``f`` for anything else
    :raises OSError: something cannot be removed; it names the path
    """
    known: dict[str, str] = {}
    for path, kind in entries:
        if known.get(path) != "s":
            known[path] = kind
    # Some file systems need it, and a new one gets it anew.
    known.setdefault("lost+found", "s")
    trail = [_Open(os.open(tree, os.O_RDONLY | _DIRECTORY), "")]
    try:
        for here, name in _names(trail):
            path = f"{here.above}{name}"
            fate = known.get(path)
            with _at(path):
                if fate is None:
                    # A file in an immutable directory cannot be removed.
                    here.lifted |= lift(here.fd)
                    _remove(here.fd, name, path, [])
                elif fate == "d" and _is_directory(name, here.fd):
                    below = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=here.fd)
                    trail.append(_Open(below, f"{path}/"))
    finally:
        for each in trail:
            each.close()


def flags(tree: str) -> dict[str, int]:
    """The flags of the directories of a tree that are immutable or append-only, by path.

    A directory that cannot be read is left out.

    :raises OSError: it is no tree, because a directory has several paths; it names one
    """
    found: dict[str, int] = {}
    trail = [_Open(os.open(tree, os.O_RDONLY | _DIRECTORY), "", directories=True)]
    top = os.fstat(trail[0].fd)
    device, seen = top.st_dev, {top.st_ino}
    if own := _flags(trail[0].fd) & _LIFTED:
        found[""] = own
    for here, name in _names(trail):
        try:
            fd = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=here.fd)
        except OSError:
            continue
        path = f"{here.above}{name}"
        try:
            if own := _flags(fd) & _LIFTED:
                found[path] = own
            below = _Open(fd, f"{path}/", directories=True)
        except OSError:
            os.close(fd)
            continue
        status = os.fstat(fd)
        if status.st_dev != device:
            below.close()
            continue
        if status.st_ino in seen:
            # A few such directories have more paths than any program can go through.
            raise _NamedError(errno.EUCLEAN, _NO_TREE, path)
        seen.add(status.st_ino)
        trail.append(below)
    return found


def set_again(tree: str, wanted: Mapping[str, int]) -> dict[str, str]:
    """Set the flags of directories; one that no longer exists is left out.

    :param wanted: the flags to set besides those that a directory has, by path
    :returns: why the flags of a directory could not be set, by path
    """
    troubles: dict[str, str] = {}
    with _Parents(tree) as parents:
        for path, wished in wanted.items():
            try:
                place = parents.open(path)
                if place is None:
                    continue
                fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place)
                try:
                    has = _flags(fd)
                    if wished & ~has:
                        _set(fd, has | wished & _LIFTED)
                finally:
                    os.close(fd)
            except OSError as error:
                troubles[path] = error.strerror or str(error)
    return troubles


def _lift_at(place: int) -> None:
    """Lift the flags of a directory that is open as a place only."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place)
    try:
        lift(fd)
    finally:
        os.close(fd)


def lift(fd: int) -> int:
    """Lift the flags immutable and append-only; returns those that there were."""
    has = _flags(fd)
    if has & _LIFTED:
        _set(fd, has & ~_LIFTED)
    return has & _LIFTED


def _flags(fd: int) -> int:
    try:
        found = fcntl.ioctl(fd, _GET, bytes(8))
    except OSError as error:
        if error.errno in _NO_FLAGS:
            return 0
        raise
    return int.from_bytes(found[:4], sys.byteorder)


def _set(fd: int, wanted: int) -> None:
    fcntl.ioctl(fd, _SET, wanted.to_bytes(4, sys.byteorder) + bytes(4))


class _NamedError(OSError):
    """An error that names the whole path in the tree."""


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Let an error name this path."""
    try:
        yield
    except _NamedError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise _NamedError(error.errno or errno.EIO, reason, path) from error


class _Open:
    """A directory that is open, with the names in it that are still to be looked at.

    :ivar above: what the path of each of them begins with
    :ivar lifted: the flags to set again in the end
    """

    def __init__(self, fd: int, above: str, *, directories: bool = False) -> None:
        self.fd, self.above = fd, above
        self.lifted = 0
        with os.scandir(fd) as found:
            self.names = [
                each.name for each in found if not directories or each.is_dir(follow_symlinks=False)
            ]

    def close(self) -> None:
        try:
            if self.lifted:
                with _at(self.above.rstrip("/")):
                    _set(self.fd, _flags(self.fd) | self.lifted)
        finally:
            os.close(self.fd)


def _names(trail: list[_Open]) -> Iterator[tuple[_Open, str]]:
    """Each name below a directory; a directory that the caller appends meanwhile comes next."""
    while trail:
        here = trail[-1]
        if here.names:
            yield here, here.names.pop()
        else:
            trail.pop().close()


def _remove(parent: int, name: str, path: str, flagged: list[str]) -> None:
    """Remove a file, or a directory with everything in it, however deep it is.

    :param path: its path in the tree
    :param flagged: gets the paths that were immutable or append-only
    """
    if not _is_directory(name, parent):
        _unlink(parent, name, path, flagged)
        return
    trail = [_to_empty(parent, name, path, flagged)]
    try:
        while trail:
            here = trail[-1]
            if here.names:
                each = here.names.pop()
                inside = f"{here.above}{each}"
                with _at(inside):
                    if _is_directory(each, here.fd):
                        trail.append(_to_empty(here.fd, each, inside, flagged))
                    else:
                        _unlink(here.fd, each, inside, flagged)
                continue
            trail.pop().close()
            last = here.above.rstrip("/")
            with _at(last):
                above = trail[-1].fd if trail else parent
                os.rmdir(last.rpartition("/")[2], dir_fd=above)
    finally:
        for one in trail:
            one.close()


def _to_empty(parent: int, name: str, path: str, flagged: list[str]) -> _Open:
    fd = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=parent)
    try:
        if lift(fd):
            flagged.append(path)
        return _Open(fd, f"{path}/")
    except OSError:
        os.close(fd)
        raise


def _unlink(parent: int, name: str, path: str, flagged: list[str]) -> None:
    try:
        os.unlink(name, dir_fd=parent)
        return
    except PermissionError:
        status = os.lstat(name, dir_fd=parent)
        if not stat.S_ISREG(status.st_mode):
            raise
    fd = os.open(name, _READ, dir_fd=parent)
    try:
        lifted = lift(fd)
        os.unlink(name, dir_fd=parent)
        if lifted:
            flagged.append(path)
            if os.fstat(fd).st_nlink:
                # The file stays under another name.
                _set(fd, _flags(fd) | lifted)
    finally:
        os.close(fd)


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)


class _Parents:
    """The directories of a tree. The last one stays open, because its children come in a row."""

    def __init__(self, tree: str) -> None:
        self._tree = os.open(tree, os.O_PATH | os.O_DIRECTORY)
        self._path, self._fd = "", os.dup(self._tree)

    def __enter__(self) -> _Parents:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        os.close(self._tree)

    def open(self, path: str) -> int | None:
        """A directory of the tree, reached without links; None if it does not exist yet."""
        if path == self._path:
            return self._fd
        fd = os.dup(self._tree)
        for name in path.split("/") if path else ():
            try:
                _check(name)
                below = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                return None
            finally:
                os.close(fd)
            fd = below
        os.close(self._fd)
        self._path, self._fd = path, fd
        return fd


def _check(name: str) -> None:
    if name in ("", ".", ".."):
        raise OSError(f"'{name}' is not a name in the tree")


def _bare(fd: int) -> None:
    """Remove the attributes of a directory: it gets those of the backup."""
    try:
        lift(fd)
        for key in os.listxattr(fd):
            if key != _KEPT:
                os.removexattr(fd, key)
    finally:
        os.close(fd)


def _entries(text: bytes) -> Iterator[tuple[str, str]]:
    for entry in text.split(b"\0")[:-1]:
        yield os.fsdecode(entry[1:]), os.fsdecode(entry[:1])


def main(tree: str, verb: str = "clear") -> None:
    """Do what the verb says."""
    # A directory is open for each level of a tree.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if verb == "flags":
        print(json.dumps(flags(tree)))
    elif verb == "set":
        print(json.dumps(set_again(tree, json.load(sys.stdin))))
    elif verb == "extra":
        remove_extra(tree, _entries(sys.stdin.buffer.read()))
    else:
        listed = _entries(sys.stdin.buffer.read())
        print(json.dumps(clear(tree, ((path, kind == "d") for path, kind in listed))))


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
