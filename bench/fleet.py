"""Volumes of a lab: fills and changes them, and backs all of them up with either program."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import baseline_script
from bench.site import on_tree
from lab import Lab

_TICKS = os.sysconf("SC_CLK_TCK")
_POLL = 0.5


@dataclass(frozen=True)
class Spent:
    """The cost of one program for all volumes.

    :ivar wall: seconds
    :ivar cpu: seconds of processor time of it, of what it has started, and of Cinder
    :ivar own: those without Cinder's, for what is not a part of Cinder
    :ivar stored: bytes that its store has grown by
    """

    wall: float
    cpu: float
    own: float
    stored: int


class Fleet:
    """Volumes with a tree on each.

    :param directory: an empty directory
    :param files: number of files on each volume
    :param size: total bytes of the files on each volume
    """

    def __init__(
        self, lab: Lab, directory: Path, *, count: int, gib: int, files: int, size: int
    ) -> None:
        self._lab, self._cinder = lab, lab.cinder()
        self._mount_point = directory / "mount"
        self._mount_point.mkdir()
        self._gib = gib
        baseline_script.set_up_brick(directory / "locks")
        self.ids = [self._create(number, files, size) for number in range(count)]

    def _create(self, number: int, files: int, size: int) -> str:
        made = self._cinder.volumes.create(self._gib, name=f"bench {number}")
        baseline_script.wait_until(lambda: self._cinder.volumes.get(made.id), "available")
        with baseline_script.attached(self._cinder, made.id) as device:
            subprocess.run(["mkfs.ext4", "-q", device], check=True)
            self._on(device, "rw,noatime", "make", files, size, number)
        return str(made.id)

    def change(self, size: int, seed: int) -> None:
        """Change this number of bytes in the files of each volume."""
        for number, volume_id in enumerate(self.ids):
            with baseline_script.attached(self._cinder, volume_id) as device:
                self._on(device, "rw,noatime", "change", size, seed + number)

    def digest(self, volume_id: str) -> str:
        """A digest of the files on a volume."""
        with baseline_script.attached(self._cinder, volume_id) as device:
            return self._on(device, "ro", "digest")

    def _on(self, device: str, options: str, what: str, *arguments: object) -> str:
        with tempfile.TemporaryFile("w+") as output:
            command = on_tree(what, ".", *arguments)
            if baseline_script.mounted(device, self._mount_point, options, *command, output=output):
                raise RuntimeError(f"{what} failed on {device}")
            output.seek(0)
            return output.read().strip()

    # Other volumes

    def others(self) -> list[str]:
        """The volumes that are not the fleet's."""
        return [v.id for v in self._cinder.volumes.list() if v.id not in self.ids]

    def remove_others(self) -> None:
        for volume_id in self.others():
            self._cinder.volumes.delete(volume_id)
        for volume_id in self.others():
            baseline_script.wait_until_gone(partial(self._cinder.volumes.get, volume_id))

    # The two programs

    def cinder_backup(self, store: Path, *, incremental: bool) -> Spent:
        """Back all volumes up with cinder-backup."""
        with self._spending(store) as spent:
            made = [
                self._cinder.backups.create(volume_id, incremental=incremental).id
                for volume_id in self.ids
            ]
            for backup_id in made:
                self._wait(partial(self._cinder.backups.get, backup_id))
        return spent[0]

    def cinder_restore(self, store: Path) -> Spent:
        """Restore the last backup of each volume to a new one."""
        last: dict[str, Any] = {}
        for backup in self._cinder.backups.list(detailed=True):
            known = last.get(backup.volume_id)
            if known is None or known.created_at < backup.created_at:
                last[backup.volume_id] = backup
        with self._spending(store) as spent:
            made = [
                self._cinder.restores.restore(last[volume_id].id, name="restored").volume_id
                for volume_id in self.ids
            ]
            for volume_id in made:
                self._wait(partial(self._cinder.volumes.get, volume_id))
        return spent[0]

    def volflow(self, store: Path, command: Sequence[str], environment: dict[str, str]) -> Spent:
        """Run a command of volflow over all volumes."""
        with self._spending(store) as spent:
            done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
        return spent[0]

    @contextmanager
    def _spending(self, store: Path) -> Iterator[list[Spent]]:
        found: list[Spent] = []
        stored, cinder, own = _size(store), _cpu(self._lab.pid), os.times()
        began = time.perf_counter()
        yield found
        wall = time.perf_counter() - began
        now = os.times()
        # This process only waits, for either program.
        mine = now.children_user + now.children_system - own.children_user - own.children_system
        cpu = _cpu(self._lab.pid) - cinder
        found.append(Spent(wall, cpu + mine, mine, _size(store) - stored))

    @staticmethod
    def _wait(look: Callable[[], Any]) -> None:
        while (found := look()).status != "available":
            if found.status.startswith("error"):
                raise RuntimeError(f"{found.id} is in state {found.status}")
            time.sleep(_POLL)


def _cpu(pid: int) -> float:
    """Processor seconds of a process and of its ended children (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _size(store: Path) -> int:
    """Bytes that the files below a directory use on disk."""
    return sum(path.lstat().st_blocks * 512 for path in store.rglob("*") if path.is_file())


def program(configuration: Path, *arguments: str) -> list[str]:
    """A command line of volflow."""
    return [
        str(Path(sys.executable).with_name("volflow")),
        *("--config-file", str(configuration), *arguments),
    ]
