"""A private mount namespace for one volume.

A small process holds the namespace. When its standard input is closed, which the kernel does when
this process ends in any way, it kills what still runs in the namespace, and ends. The namespace
ends with its last process, and its mounts end with it: a crash leaves no running program and no
mount, and the host never sees them (unshare(1), mount_namespaces(7)).

A process namespace would do the same, but restic writes its process id into its lock, and a restic
outside of the namespace uses that id to decide whether the lock is stale.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from volflow.errors import HostError, NoProgressError
from volflow.host import devices, refused_mount
from volflow.host.kernel_log import KernelLog
from volflow.host.privilege import Privilege
from volflow.host.program import Program

LOG = logging.getLogger(__name__)

# The driver of ext4 mounts all three, and takes the same options for all. Other drivers do not.
_DRIVERS = {"ext2": "ext4", "ext3": "ext4"}
# mount(8) creates the directory and its parents.
_MAKE = "X-mount.mkdir=0700"
# Seconds that a file system may stay busy after the last program in it has ended.
_BUSY = 10.0
# Seconds that a namespace may take to begin and to end.
_START, _END = 60.0, 30.0

# Holds a namespace: prints its process id, waits for the end of its standard input, then kills all
# other processes in the namespace, repeatedly, because some may start others meanwhile. It does not
# wait for processes that cannot be killed, such as those that wait for a device. It must make sure
# that the namespace is not that of the host.
_HOLDER = """
if [ "/proc/$$/ns/mnt" -ef "/proc/$PPID/ns/mnt" ]; then
    echo "the kernel does not distinguish it from the host's" >&2
    exit 1
fi
echo $$
while read -r line; do :; done
for round in 1 2 3 4 5 6 7 8 9 10; do
    found=
    for each in /proc/[0-9]*; do
        if [ "$each/ns/mnt" -ef "/proc/$$/ns/mnt" ] && [ "$each" != "/proc/$$" ]; then
            found=yes
            kill -s KILL "${each#/proc/}"
        fi
    done
    [ "$found" ] || exit 0
    sleep 0.1
done
"""


class MountNamespace:
    """A mount namespace with a small tmpfs at ``root``, in which volumes are mounted.

    All namespaces use the same directory as ``root``, and each has its own tmpfs there. So the
    paths of a backup do not depend on the volume or the run.

    :param privilege: how to become root
    :param root: an existing directory
    :raises HostError: not enough privilege
    """

    def __init__(self, privilege: Privilege, root: Path) -> None:
        self.root = root
        self._privilege = privilege
        self._mounted: dict[Path, tuple[int, int]] = {}
        self._holder = privilege.hold(
            "unshare", "--mount", "--propagation", "slave", "sh", "-c", _HOLDER
        )
        self._pid = self._holder.first_line(_START)
        if not self._pid:
            self._holder.let_go()
            said = self._holder.said().strip() or f"unshare said nothing for {_START:g} s"
            raise HostError(f"No mount namespace: {said}")
        try:
            self.run("mount", "-t", "tmpfs", "-o", "mode=0700,nosuid,nodev,noexec", "tmpfs", root)
        except HostError:
            self.close()
            raise

    def run(self, *command: str | Path, stdin: str | None = None) -> str:
        """Run the command in the namespace to its end; returns its standard output.

        :raises HostError: the program is missing or failed; quotes its standard error
        """
        return self._privilege.run(*map(str, command), stdin=stdin, enter=self._enter())

    def records(self, *command: str | Path) -> Iterator[bytes]:
        """Run the command in the namespace to its end, and yield its output record by record.

        :returns: each record without the zero byte that ends it
        :raises HostError: the program failed; quotes its standard error
        """
        return self._privilege.records(*map(str, command), enter=self._enter())

    def start(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        gentle: bool = False,
        stdin: str | None = None,
    ) -> Program:
        """Start a command in the namespace, with a pipe for its output.

        :param gentle: to end it, it receives SIGINT, and SIGKILL only if it does not end then
        :param stdin: its standard input
        :raises HostError: the program is missing, or could not be started
        """
        return self._privilege.start(
            *map(str, command),
            enter=self._enter(cwd),
            environment=environment,
            gentle=gentle,
            stdin=stdin,
        )

    def write(self, path: Path, text: str) -> None:
        """Write a file in the namespace that only root can read."""
        self.run("install", "--mode=0600", "/dev/stdin", path, stdin=text)

    def mount(self, device: str, path: Path, fs_type: str, options: Sequence[str]) -> None:
        """Mount the device in the namespace. The directory is created.

        :param fs_type: the probed type; the kernel must not guess it
        :raises HostError: the device is read-only and its journal is not empty; or gives the reason
            of the kernel, or else the message of mount
        """
        driver = _DRIVERS.get(fs_type, fs_type)
        with KernelLog(self._privilege) as log:
            try:
                self.run("mount", "-t", driver, "-o", ",".join([*options, _MAKE]), device, path)
            except NoProgressError:
                raise
            except HostError as error:
                reason = self._refused(log, device, fs_type, str(error))
                if not devices.is_read_only(device):
                    raise HostError(reason) from error
                raise HostError(
                    f"The device {device} is read-only and its journal must be replayed: its "
                    f"{fs_type} was not unmounted cleanly, and can be mounted only after a change. "
                    f"Check why the storage attaches it read-only. {reason}"
                ) from error
        # A read-only file system does not grow.
        self._mounted[path] = (0, 0) if "ro" in options else self._used(path)

    def remount(self, device: str, path: Path, fs_type: str, options: Sequence[str]) -> None:
        """Change the options of a mounted file system.

        :raises HostError: the kernel refuses; gives its reason, or else the message of mount
        """
        driver = _DRIVERS.get(fs_type, fs_type)
        with KernelLog(self._privilege) as log:
            try:
                self.run("mount", "-t", driver, "-o", ",".join(["remount", *options]), device, path)
            except NoProgressError:
                raise
            except HostError as error:
                raise HostError(self._refused(log, device, fs_type, str(error))) from error

    @staticmethod
    def _refused(log: KernelLog, device: str, fs_type: str, said: str) -> str:
        """Why the device could not be mounted.

        :param said: the message of mount
        """
        kernel = refused_mount.about(device, log.said())
        if not kernel:
            damaged = refused_mount.NEEDS_CLEANING in said
            reason = refused_mount.why(fs_type, [refused_mount.NEEDS_CLEANING]) if damaged else ""
            return f"{reason} {said}".lstrip()
        reason = refused_mount.why(fs_type, kernel) or said
        return f"{reason} The kernel said: {'; '.join(kernel)}"

    def bind(self, directory: Path, path: Path) -> None:
        """Bind-mount a directory of the host in the namespace.

        :raises HostError: quotes the message of mount
        """
        self.run("mount", "--bind", "-o", _MAKE, directory, path)
        self._mounted[path] = self._used(path)

    @property
    def mounted(self) -> list[Path]:
        """Where file systems are mounted in the namespace."""
        return list(self._mounted)

    def written(self) -> tuple[int, int]:
        """The inodes and bytes by which the writable mounts have grown."""
        now = [(self._used(path), before) for path, before in self._mounted.items()]
        inodes, size = (sum(used[n] - before[n] for used, before in now) for n in (0, 1))
        return max(0, inodes), max(0, size)

    def _used(self, path: Path) -> tuple[int, int]:
        columns = self.run("df", "--block-size=1", "--output=iused,used", path).split()[-2:]
        # Some file systems have no fixed number of inodes, and report none.
        inodes, size = (int(each) if each.isdecimal() else 0 for each in columns)
        return inodes, size

    def unmount(self, *paths: Path) -> None:
        """Unmount what is mounted, so that all data is written to the devices.

        :param paths: where; everything unless given
        :raises HostError: a file system stays busy, or its data could not be written
        """
        for last in paths or reversed(list(self._mounted)):
            deadline = time.monotonic() + _BUSY
            while True:
                try:
                    self.run("umount", last)
                    break
                except HostError as error:
                    if "busy" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            del self._mounted[last]

    def close(self) -> None:
        """End the namespace with every process and every mount in it.

        It may be closed twice, also by two threads.
        """
        if not self._holder.close(_END):
            LOG.warning(
                "The mount namespace of process %s does not end: a program in it waits for a "
                "device or a file system that does not answer.",
                self._pid,
            )

    def _enter(self, cwd: Path | None = None) -> list[str]:
        if not self._holder.runs:
            raise HostError("The process that holds the mount namespace has ended.")
        # nsenter would look for the directory outside of the namespace.
        chdir = ["env", f"--chdir={cwd}"] if cwd else []
        return ["nsenter", f"--mount=/proc/{self._pid}/ns/mnt", *chdir]
