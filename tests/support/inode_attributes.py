"""What a file has beside its data, read by the usual tools: flags, project id and birth time."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.cloud import run


def flags(root: Path) -> dict[str, str]:
    """The flags of each file and directory of a tree, as lsattr shows them; only those with any.

    ``e`` and ``I`` only say how the data is stored.
    """
    found = {}
    for path in (root, *sorted(root.rglob("*"))):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            continue
        done = subprocess.run(["lsattr", "-d", path], capture_output=True, check=True)
        letters = "".join(sorted(set(done.stdout.split()[0].decode()) - set("-eI")))
        if letters:
            found[str(path.relative_to(root))] = letters
    return found


def projects(root: Path) -> dict[str, int]:
    """The project id of each file and directory of an XFS; only those that have one."""
    found = {}
    for path in (root, *sorted(root.rglob("*"))):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            continue
        said = run("xfs_io", "-r", "-c", "lsproj", str(path))
        number = int(re.findall(r"projid = (\d+)", said)[0])
        if number:
            found[str(path.relative_to(root))] = number
    return found
