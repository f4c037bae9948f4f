"""A server that uses a volume: this machine, in a mount namespace that the host does not see.

It attaches the volume through Cinder's attachments API, as Nova does, but without a server id.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo import orders

_CONNECTOR = {"host": "demo-server", "ip": "127.0.0.1", "multipath": False}


class ServerError(Exception):
    """A program of the server has failed."""


class Server:
    """Keeps one volume attached and mounted until it is closed.

    :param cinder: a Cinder client
    :param mount_point: a directory; this class creates it
    """

    def __init__(self, cinder: Any, volume_id: str, mount_point: Path) -> None:
        self._cinder = cinder
        self.volume_id = volume_id
        self.mount_point = mount_point
        self._mounted = False
        self._application: subprocess.Popen[str] | None = None
        self._namespace = subprocess.Popen(
            ["unshare", "--mount", "--propagation=slave", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._namespace.stdout is not None
        self._namespace.stdout.readline()  # now the namespace exists
        made = cinder.attachments.create(volume_id, _CONNECTOR)
        self.attachment_id = str(made["id"])
        cinder.attachments.complete(self.attachment_id)
        self._device = str(made["connection_info"]["device_path"])

    @property
    def root(self) -> Path:
        """The volume's root directory, as seen from outside the server (proc(5), root)."""
        inside = self.mount_point.relative_to("/")
        return Path(f"/proc/{self._namespace.pid}/root") / inside

    @property
    def processes(self) -> list[int]:
        """The server's processes, as the host sees them."""
        known = (self._namespace, self._application)
        return [process.pid for process in known if process is not None]

    def format(self, fs_type: str) -> None:
        """Make a file system."""
        _run(f"mkfs.{fs_type}", "-q", self._device)

    def mount(self, fs_type: str, options: str = "noatime") -> None:
        """Mount the volume."""
        self.mount_point.mkdir(exist_ok=True)
        self._inside("mount", "-t", fs_type, "-o", options, self._device, str(self.mount_point))
        self._mounted = True

    def take_orders(self) -> None:
        """Start the application that writes to the volume until the server is closed."""
        self._application = subprocess.Popen(
            self._entered(*self._shop("take")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="ascii",
            start_new_session=True,
        )
        assert self._application.stdout is not None
        if not self._application.stdout.readline():
            raise ServerError("The application that takes orders did not start.")

    def orders(self) -> int:
        """The number of committed orders."""
        return int(self._inside(*self._shop("count")))

    def sync(self) -> None:
        """Flush everything written so far from the server's memory to the volume."""
        self._inside("sync", "--file-system", str(self.mount_point))

    def close(self) -> None:
        """Stop the application, unmount, and detach. A second call has no effect."""
        if self._application is not None:
            self._application.terminate()
            self._application.communicate()
            self._application = None
        if self._mounted:
            self._inside("umount", str(self.mount_point))
            self._mounted = False
        if self._namespace.poll() is None:
            self._namespace.communicate()
            self._cinder.attachments.delete(self.attachment_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _entered(self, *command: str) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self._namespace.pid}/ns/mnt", *command]

    def _shop(self, verb: str) -> list[str]:
        return [sys.executable, "-I", orders.__file__, verb, str(self.mount_point / orders.FILE)]

    def _inside(self, *command: str) -> str:
        return _run(*self._entered(*command))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise ServerError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
    return done.stdout
