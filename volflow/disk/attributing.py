"""Sets flags and project ids of a restored tree, or takes off what prevents changes.

See :mod:`volflow.disk.attributes` for the file that says which. This file runs as a program of its
own in the mount namespace, as root, with nothing but the standard library:

* ``attributing.py apply TREE FILE`` sets flags and project ids as the file says, those that prevent
  changes last. It reads a JSON object from its standard input: which paths (``roots``, ``only``),
  and whether also those are changed that had neither (``exact``). It prints what it could not set.
* ``attributing.py lift TREE`` takes immutable and append-only off everything.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import runpy
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volflow.disk import attributes as shared
else:
    # A program cannot import this package.
    from types import SimpleNamespace

    shared = SimpleNamespace(
        **runpy.run_path(f"{os.path.dirname(__file__)}/attributes.py", run_name="attributes")
    )

#: Paths that are named in what is printed.
SHOWN = 20


class Applier:
    """Sets flags and project ids in a tree.

    :param only: only what is at or below the roots is changed; otherwise everything else is
    :param exact: also what had neither flags nor a project id gets exactly that
    """

    def __init__(self, tree: str, *, only: bool, roots: Sequence[str], exact: bool) -> None:
        self._tree = os.open(tree, os.O_PATH | os.O_DIRECTORY)
        self._only, self._roots, self._exact = only, frozenset(roots), exact
        self.done = 0
        self.troubles: dict[str, str] = {}
        self.failed = 0

    def apply(self, file: IO[bytes]) -> None:
        """Set everything, and in a second round what prevents changes."""
        for locks in (False, True):
            file.seek(0)
            header = json.loads(file.readline(shared.LONGEST_LINE))
            if header["format"] != shared.FORMAT or header["flags"] not in ("ext", "xfs", "none"):
                raise ValueError(f"format {header['format']!r}, flags {header['flags']!r}")
            attributes = shared.Attributes(header["flags"], projects=True)
            while line := file.readline(shared.LONGEST_LINE + 1):
                if len(line) > shared.LONGEST_LINE:
                    raise ValueError(f"a line of more than {shared.LONGEST_LINE} bytes")
                self._directory(attributes, *json.loads(line), locks=locks)

    def _directory(
        self, attributes: shared.Attributes, above: str, entries: list[list[Any]], *, locks: bool
    ) -> None:
        place = None
        if not isinstance(above, str):
            raise TypeError(f"directory {above!r}")
        try:
            for name, _, *more in entries:
                flags, project = (int(each) for each in (*more, 0, 0)[:2])
                if not isinstance(name, str):
                    raise TypeError(f"name {name!r}")
                if not (0 <= flags < 2**32 and 0 <= project < 2**32):
                    raise ValueError(f"flags {flags} or project {project}")
                if not (flags & attributes.locks if locks else flags or project or self._exact):
                    continue
                path = f"{above}/{name}".strip("/")
                if self._covers(path) is not True:
                    continue
                if place is None:
                    place = self._open(above)
                    if place is None:
                        return
                try:
                    fd = _open(place, name)
                except OSError as error:
                    self._failed(path, error)
                    continue
                if fd is None:
                    continue
                try:
                    if locks:
                        attributes.lock(fd, flags)
                    else:
                        attributes.set(fd, flags & ~attributes.locks, project)
                        self.done += 1
                except OSError as error:
                    self._failed(path, error)
                finally:
                    os.close(fd)
        finally:
            if place is not None:
                os.close(place)

    def _failed(self, path: str, error: OSError) -> None:
        if path in self.troubles:
            return
        self.failed += 1
        if len(self.troubles) < SHOWN:
            self.troubles[path] = error.strerror or str(error)

    def _covers(self, path: str) -> bool:
        roots = self._roots
        while path and path not in roots:
            path = path.rpartition("/")[0]
        return (path in roots) is self._only

    def _open(self, path: str) -> int | None:
        """A directory of the tree, reached without links; None if it does not exist."""
        fd = os.dup(self._tree)
        for name in path.split("/") if path else ():
            try:
                _check(name)
                below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                return None
            finally:
                os.close(fd)
            fd = below
        return fd


def lift(tree: str) -> None:
    """Take immutable and append-only off everything in a tree that can be opened."""
    flags = shared.Attributes("ext", projects=False)
    for here in shared.walk(tree):
        _lift(flags, here.fd)
        for name in here.names:
            mode = os.lstat(name, dir_fd=here.fd).st_mode
            if stat.S_ISDIR(mode):
                here.below.append(name)
            elif stat.S_ISREG(mode):
                with suppress(OSError):
                    fd = os.open(name, shared.READ, dir_fd=here.fd)
                    try:
                        _lift(flags, fd)
                    finally:
                        os.close(fd)


def _lift(flags: shared.Attributes, fd: int) -> None:
    # Also XFS has these two among the flags of FS_IOC_GETFLAGS.
    whole = array.array("i", [0, 0])
    try:
        fcntl.ioctl(fd, shared.GET_FLAGS, whole)
    except OSError as error:
        if error.errno not in shared.NO_FLAGS:
            raise
        return
    if whole[0] & flags.locks:
        whole[0] &= ~flags.locks
        fcntl.ioctl(fd, shared.SET_FLAGS, whole)


def _open(place: int, name: str) -> int | None:
    """Open a file or directory; None if it is something else, or not there: the backup lacks it."""
    if name:
        _check(name)
        try:
            mode = os.lstat(name, dir_fd=place).st_mode
        except FileNotFoundError:
            return None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return None
    return os.open(name or ".", shared.READ, dir_fd=place)


def _check(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise OSError(errno.EINVAL, f"'{name}' is not a name in the tree")


def _apply(tree: str, source: str) -> dict[str, Any]:
    applier = Applier(tree, **json.load(sys.stdin))
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > shared.MOST_BYTES:
            raise OSError(errno.EFBIG, "not a file of this size", source)
        try:
            applier.apply(file)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = f"the backup's file of attributes is damaged: {error!r}"
            raise OSError(errno.EBADMSG, reason) from error
    return {"done": applier.done, "failed": applier.failed, "troubles": applier.troubles}


def main(verb: str, tree: str, *more: str) -> None:
    """Do what the verb says."""
    shared.allow_depth()
    if verb == "apply":
        print(json.dumps(_apply(tree, *more)))
    else:
        lift(tree)


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
