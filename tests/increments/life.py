"""A volume that a guest writes to while it is backed up, several times."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.increments.guest import Guest
from tests.increments.seen import Files, differences, files, on_image, stale
from tests.support.cloud import MKFS, in_a_namespace, run, unmount
from tests.support.site import Site
from volflow.host.namespace import MountNamespace
from volflow.repositories import increment
from volflow.repositories.manifest import region_path
from volflow.tasks.mount_clone import MountClone

# Each kind of file system: its type, options of mkfs, options of the guest's mount.
KINDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "ext4": ("ext4", (), "relatime"),
    "ext4 lazytime": ("ext4", (), "lazytime"),
    "ext4 128": ("ext4", ("-I", "128"), "relatime"),
    "xfs": ("xfs", (), "relatime"),
    "xfs lazytime": ("xfs", (), "lazytime"),
}
# Seconds after which a file system writes changed times to the disk, unless the mount is lazytime.
_COMMIT = {"ext4": 5.0, "xfs": 30.0}
# The margin in seconds: all clocks are the same. So files are old soon, and what an increment
# misses shows.
MARGIN = 2.0
# By how many seconds a guest's clock is set back: less than the margin, and more than a life.
_BACK = (1, 86400)


@dataclass
class Tally:
    """What was seen.

    :ivar counts: numbers, by what they count
    :ivar troubles: what must not be
    """

    counts: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)


class Life:
    """One volume, from its file system to its last backup.

    :param what: one of :data:`KINDS`
    :param wait: the longest time in seconds for which the guest writes before a backup
    :param touch: whether volflow gives files another ctime; if not, there must be troubles
    """

    def __init__(
        self,
        site: Site,
        what: str,
        seed: str,
        tally: Tally,
        *,
        wait: float = 3.0,
        touch: bool = True,
    ) -> None:
        self._site, self._what, self._tally = site, what, tally
        self._kind, self._options, self._mount = KINDS[what]
        self._lazy = self._mount == "lazytime"
        self._chance, self._wait, self._touch = random.Random(seed), wait, touch
        self._volume = site.cloud.create(name=f"{what} {seed}")
        self._image, self._point = site.home / "snapshot", site.home / "guest"
        self._guest = Guest(self._point, random.Random(f"guest {seed}"))
        self._before: Files = {}
        # When the data of the last backup were taken: by Cinder, at the earliest, at the latest.
        self._taken = self._from = self._until = 0.0
        self._stale: set[str] = set()

    def live(self, rounds: int) -> None:
        """Back up while the guest writes, so many times; then once more when all is flushed."""
        with self._site.cloud.attached(self._volume) as device:
            run(*MKFS[self._kind], *self._options, device)
            in_a_namespace(lambda: self._mounted(device, rounds))
        self._site.cloud.delete(self._volume)

    def _mounted(self, device: str, rounds: int) -> None:
        self._point.mkdir(exist_ok=True)
        mount = ("mount", "-t", self._kind, "-o", self._mount, device, str(self._point))
        run(*mount)
        try:
            self._guest.fill()
            full = self._chance.randrange(1, rounds)
            for number in range(rounds):
                self._guest.start()
                time.sleep(self._chance.uniform(0, self._wait))
                try:
                    self._back_up("full" if number in (0, full) else "increment")
                finally:
                    self._guest.stop()
                if self._kind == "ext4" and self._chance.random() < 0.25:
                    unmount(self._point)
                    self._set_back(device, self._chance.choice(_BACK))
                    run(*mount)
                elif not self._lazy:
                    # The next backup of a real volume comes long after the commit interval.
                    self._sync()
            self._sync()
            self._back_up("flushed")
            self._tally.counts.update({f"  {way}": n for way, n in self._guest.acts.items()})
        finally:
            unmount(self._point)

    def _sync(self) -> None:
        run("sync", "--file-system", str(self._point))

    def _set_back(self, device: str, seconds: int) -> None:
        """Let the guest's clock have been behind: all times of its files are earlier."""
        image = Path(device).resolve()
        requests = [
            f"set_inode_field <{status.st_ino}> {name} @{int(moment) - seconds}"
            for status in self._statuses(device)
            for name, moment in (("ctime", status.st_ctime), ("mtime", status.st_mtime))
        ]
        run("debugfs", "-w", "-f", "/dev/stdin", str(image), input="\n".join(requests) + "\n")
        self._tally.counts["  clock set back"] += 1

    def _statuses(self, device: str) -> list[os.stat_result]:
        run("mount", "-t", self._kind, "-o", "ro", device, str(self._point))
        try:
            return [path.stat() for path in self._point.glob("file *")]
        finally:
            unmount(self._point)

    def _back_up(self, how: str) -> None:
        """Back up and compare.

        :param how: ``full`` to read everything, ``flushed`` if the snapshot has all times
        """
        began, self._image_at = time.time(), 0.0
        with self._kept_snapshot():
            result = self._site.backup(self._volume, full=how == "full")
        told = result.volumes[0]
        if str(result.outcome) != "complete":
            raise AssertionError(f"{self._what}: {result.outcome}: {told.error}")
        # The hook below keeps it when volflow mounts it.
        assert self._image_at >= began, "the snapshot was not kept"
        self._guest.stop()
        was = on_image(self._image, self._kind, self._site.home / "look")
        now = self._restored(told.backup_id)
        counts = self._tally.counts
        counts[f"{how} backups"] += 1
        counts["files compared"] += len(was)
        counts["files read"] += told.figures.files_read
        for path in differences(was, now):
            line = f"differs: {was.get(path)} and {now.get(path)}"
            self._trouble(how, path, was, line, began)
        missed = stale(was, now)
        for path in missed:
            why = self._judge(how, path, was, now, began)
            if why:
                self._trouble(how, path, was, f"is stale, {why}", began)
            else:
                counts["differences of kind (d)"] += 1
        counts["healed in the next backup, or under lazytime in a later one"] += len(
            self._stale.difference(missed)
        )
        self._stale, self._before = set(missed), was
        self._from, self._until = began, self._image_at
        self._taken = self._time_of(told.backup_id)

    def _judge(self, how: str, path: str, was: Files, now: Files, began: float) -> str:
        """Why a file must not be stale; empty if an increment may miss its change.

        It may miss the first change since the parent, if it was written in place and its times
        were not on the disk.
        """
        if how != "increment":
            return "although everything was read or flushed"
        earlier, last = self._before.get(path), path in self._stale
        if earlier is None or earlier.known != was[path].known:
            return "although its times have changed"
        if max(was[path].known[2:]) / 1e9 >= self._taken - MARGIN:
            return "although it was new in the parent"
        if self._lazy and last:
            # Until the next full read.
            return ""
        if last:
            return "and it was in the last backup"
        acts = self._guest.since(self._from, was[path].known[0])
        if not any(what in Guest.IN_PLACE for _, what in acts):
            return "although nothing was written into it in place"
        if now[path].content != earlier.content:
            return "and it is not as it was in the parent"
        # Between those two the parent's snapshot was taken.
        first = min((when for when, _ in acts if when > self._until), default=began)
        # Twice the interval: the kernel may be late on a busy machine.
        if not self._lazy and first < began - 2 * _COMMIT[self._kind]:
            return "although its times should have been on the disk"
        return ""

    def _restored(self, backup_id: str) -> Files:
        with tempfile.TemporaryDirectory(dir=self._site.home) as directory:
            self._site.restic("restore", backup_id, "--target", directory)
            return files(Path(directory) / "regions" / "0")

    def _time_of(self, backup_id: str) -> float:
        with self._site.volflow() as volflow:
            (found,) = [
                one
                for one in volflow.backups.list(volume=self._volume)
                if one.id.startswith(backup_id)
            ]
            return float(found.taken_at.timestamp())

    def _trouble(self, how: str, path: str, was: Files, line: str, began: float) -> None:
        done = self._guest.since(0, was[path].known[0]) if path in was else []
        acts = [f"{when - began:+.1f} s {what}" for when, what in done]
        self._tally.troubles.append(
            f"{self._what}, {how}: {path} {line}; done to it, from the begin of the backup: "
            f"{', '.join(acts[-12:]) or 'nothing'}"
        )

    @contextmanager
    def _kept_snapshot(self) -> Iterator[None]:
        """Keep a copy of the temporary volume, as it is before volflow mounts it.

        At random, the guest stops then: what it changed after the snapshot stays as it is.
        """
        real, image = MountNamespace.mount, self._image
        stop: Callable[[], None] = self._chance.choice((self._guest.stop, lambda: None))

        def mount(namespace: MountNamespace, device: str, *args: Any, **more: Any) -> None:
            name = Path(device).resolve().name
            attached = Path(f"/sys/block/{name}/loop/backing_file")
            # volflow also mounts images of its own, to try what this host can.
            if attached.exists() and namespace.root / region_path(0) == args[0]:
                self._image_at = time.time()
                stop()
                image.unlink(missing_ok=True)
                run("cp", "--sparse=always", attached.read_text().strip(), str(image))
            real(namespace, device, *args, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MountNamespace, "mount", mount)
            patch.setattr(increment, "_MARGIN", MARGIN)
            if not self._touch:
                patch.setattr(MountClone, "_touch", lambda *_: None)
            yield
