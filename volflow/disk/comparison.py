"""Compares the files of a tree with the stored ones, as read from the device.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``comparison.py ROOT COMMAND...`` runs the command, which writes what is stored
as a tar archive, and compares it with the same paths below ROOT. It prints its progress regularly
as ``{"files": number, "bytes": number}``, and ``{"path": ..., "differs": how}`` for each file that
differs. Its exit status is that of the command.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from typing import IO

_CHUNK = 1024 * 1024
# Seconds between two reports.
_PAUSE = 0.5
# restic 0.14 reports only these bits, and stores whatever has no content as an empty file.
_MODE = 0o777
# The command ends with this program, however that ends.
_BOUND = ("setpriv", "--pdeathsig", "KILL")


def compare(root: str, archive: IO[bytes]) -> Iterator[tuple[str, str | None, int]]:
    """Compare each file, directory and link of an archive with that below a directory.

    :returns: its path, how it differs, and the number of bytes of content that were compared
    """
    with tarfile.open(
        fileobj=archive, mode="r|", encoding="utf-8", errors="surrogateescape"
    ) as stored:
        while (member := stored.next()) is not None:
            # tarfile would keep all of them in memory.
            stored.members.clear()  # type: ignore[attr-defined]
            path = os.path.join(root, member.name)
            yield member.name, _difference(stored, member, path), member.size


def _difference(stored: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> str | None:
    try:
        status = os.lstat(path)
        if member.isdir() != stat.S_ISDIR(status.st_mode):
            return "kind"
        if member.issym() != stat.S_ISLNK(status.st_mode):
            return "kind"
        if (member.uid, member.gid) != (status.st_uid, status.st_gid):
            return "owner"
        if member.issym():
            return None if os.readlink(path) == member.linkname else "target"
        if member.mode & _MODE != status.st_mode & _MODE:
            return "mode"
        if stat.S_ISREG(status.st_mode):
            content = stored.extractfile(member)
            assert content is not None
            same = status.st_size == member.size and _is_same(content, path)
            return None if same else "content"
        return None if member.size == 0 else "kind"
    except OSError as error:
        return error.strerror or repr(error)


def _is_same(content: IO[bytes], path: str) -> bool:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
        # Read from the device, not from the page cache.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := content.read(_CHUNK):
            view = memoryview(chunk)
            while view:
                found = file.read(len(view))
                if not found or found != view[: len(found)]:
                    return False
                view = view[len(found) :]
        return True


def main(root: str, *command: str) -> int:
    """Compare, and print the results; returns the exit status."""
    # Relative to it, a path can be as long as it was on the volume.
    os.chdir(root)
    files, size, reported = 0, 0, 0.0
    with subprocess.Popen([*_BOUND, *command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for path, difference, compared in compare("", process.stdout):
                files, size = files + 1, size + compared
                if difference:
                    print(json.dumps({"path": path, "differs": difference}), flush=True)
                if time.monotonic() > reported + _PAUSE:
                    reported = time.monotonic()
                    print(json.dumps({"files": files, "bytes": size}), flush=True)
        except tarfile.TarError as error:
            # The command has probably failed, and says why.
            process.stdout.close()
            return process.wait() or _failed(error)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
        # Only padding follows the last file, but the command waits until it is read.
        while process.stdout.read(_CHUNK):
            pass
        return process.wait()


def _failed(error: Exception) -> int:
    print(f"no archive: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
