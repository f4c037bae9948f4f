"""Mounts that the host sees. Those that a copy needs are in :mod:`volflow.host.namespace`."""

from __future__ import annotations

from pathlib import Path

from volflow.host.privilege import Privilege
from volflow.host.program import undisturbed


def unmount(privilege: Privilege, mount_point: Path) -> bool:
    """Unmount a directory at once.

    :returns: False if a process still uses it; that process keeps what it has opened
    """
    with undisturbed():
        if privilege.attempt("umount", str(mount_point)).returncode == 0:
            return True
        privilege.attempt("umount", "--lazy", str(mount_point))
        return False
