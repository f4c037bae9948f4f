"""A lab: start it, query its state, stop it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import clouds, keystone, loop, mount, pool, process, settings

READY_SECONDS = 90.0
LOCK_SECONDS = 60.0
# Seconds that a device may stay in use although nothing shows by whom.
_UNSEEN = 120.0

#: Receives messages for the user while a lab starts or stops.
Say = Callable[[str], None]


class LabError(Exception):
    """A problem that the user of a lab can fix."""


def _silent(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Status:
    """The state of a lab."""

    pid: int
    endpoint: str
    keystone: str | None
    services: list[dict[str, str]]
    pool: pool.Usage


class Lab:
    """A real Cinder, and on demand a real Keystone, in a directory of its own.

    As a context manager it starts without Keystone and stops at the end.
    """

    def __init__(self, directory: Path | str | None = None, *, say: Say = _silent) -> None:
        # Resolved, because the kernel reports the real paths of loop device files and mounts.
        path = Path(directory) if directory is not None else settings.default_directory()
        self.directory = settings.Directory(path.resolve())
        self._say = say

    def __enter__(self) -> Lab:
        return self.up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    @property
    def clouds_file(self) -> Path:
        """The clouds.yaml of this lab."""
        return self.directory.clouds

    @property
    def endpoint(self) -> str:
        """Cinder's endpoint, without a project."""
        return self._record().cinder_url

    @property
    def pid(self) -> int:
        """The id of the server process."""
        server = self._server()
        if server is None:
            raise LabError(f"no lab is running in {self.directory.path}")
        if self.directory.unfinished.exists():
            raise LabError(f"the lab in {self.directory.path} is not ready, or never was")
        return server.pid

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables to use this lab in a shell."""
        needed = {"OS_CLIENT_CONFIG_FILE": str(self.clouds_file), "OS_CLOUD": "lab"}
        if any(os.environ.get(name) for name in settings.PROXIES):
            # A proxy cannot reach the loopback interface of this machine.
            known = os.environ.get("no_proxy", "").split(",")
            direct = ",".join(filter(None, [*known, *{"127.0.0.1"}.difference(known)]))
            needed |= {"no_proxy": direct, "NO_PROXY": direct}
        return needed

    def cinder(self, cloud: str = "lab") -> Any:
        """A Cinder client for one of the lab's clouds."""
        return clouds.cinder(self.clouds_file, cloud)

    def up(
        self,
        *,
        keystone: bool = False,
        size_gib: int = settings.DEFAULT_SIZE_GIB,
        direct_io: bool = False,
        token_seconds: int | None = None,
        page: int | None = None,
        backup: str | None = None,
    ) -> Lab:
        """Start the lab and wait until it is ready.

        :param token_seconds: lifetime of Keystone's tokens; an hour by default
        :param page: maximum number of resources in one reply of Cinder; a thousand by default
        :param backup: run cinder-backup too, with this compression: zlib, zstd, bz2, none

        It first removes what a killed lab, or a killed `up`, has left in the directory.
        """
        _check_requirements(keystone)
        with self._locked():
            server = self._server()
            # Running and unfinished: its `up` was killed, or we would not have the lock.
            if server and not self.directory.unfinished.exists():
                raise LabError(
                    f"a lab is already up in {self.directory.path} (process {server.pid}); "
                    f"end it with 'python -m lab down' or choose another --dir"
                )
            if self.directory.record.exists():
                self._say("removing what an earlier lab left behind")
            self._clean()
            try:
                record = settings.Record(
                    size_gib=size_gib,
                    direct_io=direct_io,
                    token_seconds=token_seconds,
                    page=page,
                    backup=backup,
                )
                self._start(record, keystone)
            except BaseException as error:
                # Interrupted or failed: remove everything, but report the first reason.
                try:
                    self._remove()
                except Exception as again:  # noqa: BLE001 - reported with the first error
                    error.add_note(f"and cleaning up failed: {again}")
                raise
        return self

    def down(self) -> None:
        """End everything that belongs to the lab and remove its directory, if there is a lab."""
        if not self.directory.path.exists():
            return
        _check_root()
        with self._locked():
            self._remove()

    def status(self) -> Status:
        """The state of the lab; `LabError` if it is not running."""
        pid = self.pid
        record = self._record()
        try:
            services = self.cinder(_administrator(record)).services.list()
            usage = self._pool().usage()
        except Exception as error:
            raise LabError(f"process {pid} runs but does not answer: {error}") from error
        return Status(
            pid=pid,
            endpoint=record.cinder_url,
            keystone=record.keystone_url,
            services=[
                {"binary": s.binary, "host": s.host, "zone": s.zone, "state": s.state}
                for s in services
            ],
            pool=usage,
        )

    # Starting

    def _start(self, record: settings.Record, keystone: bool) -> None:
        with contextlib.ExitStack() as sockets:
            cinder_socket = sockets.enter_context(_listener())
            keystone_socket = sockets.enter_context(_listener()) if keystone else None
            record = replace(
                record,
                cinder_port=cinder_socket.getsockname()[1],
                keystone_port=keystone_socket.getsockname()[1] if keystone_socket else None,
            )
            record.write(self.directory)
            self.directory.unfinished.touch()
            for made in (
                self.directory.logs,
                self.directory.extra_configuration,
                self.directory.backups,
            ):
                made.mkdir(mode=0o700)
            self._say(f"making a pool of {record.size_gib} GiB (a sparse file)")
            self._pool().create(record.size_gib, _child_environment(record))
            users = self._configure(record)
            servers = {}
            if keystone_socket:
                self._say(f"starting Keystone on {record.keystone_url}")
                servers[process.KEYSTONE] = self._spawn(process.KEYSTONE, record, keystone_socket)
            self._say(f"starting Cinder on {record.cinder_url}")
            servers[process.CINDER] = self._spawn(process.CINDER, record, cinder_socket)
        clouds.write(users, self.directory.clouds)
        self._make_ready(record, servers)
        self.directory.unfinished.unlink()

    def _configure(self, record: settings.Record) -> dict[str, Any]:
        """Write the services' configuration; the clouds of clouds.yaml."""
        settings.write_private("{}\n", self.directory.policy)
        cinder = settings.cinder_configuration(self.directory, record)
        users = clouds.noauth(record)
        if record.keystone_port:
            passwords = keystone.passwords()
            settings.write_private(json.dumps(passwords), self.directory.passwords)
            settings.write_private(
                settings.ini(keystone.configuration(self.directory, record)),
                self.directory.configuration("keystone"),
            )
            cinder |= keystone.for_cinder(record, passwords[keystone.SERVICE_USER])
            users = keystone.clouds(record, passwords)
        settings.write_private(settings.ini(cinder), self.directory.configuration("cinder"))
        return users

    def _spawn(
        self, module: str, record: settings.Record, listener: socket.socket
    ) -> subprocess.Popen[bytes]:
        """Start a server process that outlives us and keeps the listening socket."""
        descriptor = listener.fileno()
        with open(self.directory.logs / f"{module}.out", "ab") as output:
            return subprocess.Popen(
                process.arguments(module, self.directory.path, descriptor),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_child_environment(record),
                pass_fds=[descriptor],
                start_new_session=True,
            )

    def _make_ready(
        self, record: settings.Record, servers: dict[str, subprocess.Popen[bytes]]
    ) -> None:
        """Wait for the services and make volume types and quotas."""
        # Made now, because its imports take as long as the servers need to start.
        client = self.cinder(_administrator(record))
        urls = [url for url in (record.keystone_url, record.cinder_root) if url]
        deadline = time.monotonic() + READY_SECONDS
        services = len(settings.BACKENDS) + 1 + bool(record.backup)
        while waiting_for := _not_yet(urls, client, services):
            for module, server in servers.items():
                if server.poll() is not None:
                    raise LabError(
                        f"{module} ended at once; the end of its output:\n"
                        f"{self._tail(f'{module}.out')}"
                    )
            if time.monotonic() > deadline:
                raise LabError(f"the lab is not ready after {READY_SECONDS:.0f} s: {waiting_for}")
            time.sleep(0.05)
        self._say("making volume types and raising quotas")
        _populate(client)

    def _tail(self, name: str, lines: int = 20) -> str:
        try:
            text = (self.directory.logs / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    # Stopping

    def _remove(self) -> None:
        """Remove everything of a lab and its directory, and the lock with it."""
        self._clean()
        self.directory.path.rmdir()

    def _clean(self) -> None:
        """Remove everything of a lab in any state; may run twice."""
        self._refuse_a_foreign_directory()
        self._end_processes()
        self._free_devices()
        if strangers := mount.below(self.directory.path):
            raise LabError(f"{', '.join(map(str, strangers))}: mounted there, and not by the lab")
        # Remove the record last: while it exists, `down` knows what to do.
        for entry in self.directory.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != self.directory.record:
                entry.unlink()
        self.directory.record.unlink(missing_ok=True)

    def _refuse_a_foreign_directory(self) -> None:
        """Refuse a directory that holds something other than a lab."""
        record = self.directory.record
        files = {entry.name for entry in self.directory.path.iterdir()}
        if not files - {settings.unwritten(record).name} or record.name in files:
            return
        if loop.under(self.directory.path):
            return  # somebody has removed the files of the lab
        raise LabError(
            f"{self.directory.path} holds files but no lab: it is left alone; choose another --dir"
        )

    def _end_processes(self) -> None:
        try:
            token = self._record().token
        except LabError:
            token = None
        for service in ("cinder", "keystone"):
            found = process.Process.read(self.directory.pid_file(service))
            if found and found.alive and not found.end(patience=8.0):
                self._say(f"process {found.pid} did not end by itself and was killed")
        # Also those without a pid file, and the children of those that have ended.
        while left := process.of_lab(self.directory.path, token):
            for each in left:
                each.end(patience=2.0)

    def _free_devices(self) -> None:
        """Free the loop devices of our files, from the top of the stack to the pool's own."""
        ours = loop.under(self.directory.path)
        own = [each for each in ours if each.file == str(self.directory.pool_file)]
        exported = [each for each in ours if each not in own]
        for devices in (exported, own):
            self._unmount(devices)
            for device in devices:
                self._free(device)

    def _unmount(self, devices: Collection[loop.Loop]) -> None:
        """Unmount everything mounted from devices of our files, whoever mounted it."""
        for mounted in mount.of_devices({str(each.path) for each in devices}):
            if mounted.point != self.directory.pool_mount:
                self._say(f"unmounting {mounted.point}")
            mount.unmount(mounted)

    def _free(self, device: loop.Loop) -> None:
        """Free a loop device of our files.

        A mount namespace that somebody made while this looked for mounts has a copy of them. And
        where the last mount ends with its namespace, the kernel writes what it still has to write.

        :raises LabError: it stays in use
        """
        deadline = time.monotonic() + _UNSEEN
        while not loop.detach(device):
            users = loop.users_of(device.path)
            if users or time.monotonic() > deadline:
                by = ", ".join(users) or "nobody that can be seen"
                raise LabError(f"{device.path} ({device.backing_file}) is still in use, by {by}")
            self._unmount([device])

    # What it needs

    def _server(self) -> process.Process | None:
        """The server process, if it runs."""
        found = process.Process.read(self.directory.pid_file("cinder"))
        return found if found and found.alive else None

    def _record(self) -> settings.Record:
        try:
            return settings.Record.read(self.directory)
        except (FileNotFoundError, ValueError) as error:
            raise LabError(f"no lab in {self.directory.path}") from error

    def _pool(self) -> pool.Pool:
        return pool.Pool(self.directory.pool_file, self.directory.pool_mount)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one `up` or `down` at a time; the lock ends with the process that holds it."""
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            self.directory.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.directory.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if self._try_lock(descriptor):
                    yield
                    return
            finally:
                os.close(descriptor)
            if time.monotonic() > deadline:
                raise LabError(f"another 'up' or 'down' is running in {self.directory.path}")
            time.sleep(0.1)

    def _try_lock(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous one may have removed the directory that we hold.
            return os.path.samestat(os.fstat(descriptor), os.stat(self.directory.path))
        except (BlockingIOError, FileNotFoundError):
            return False


def _administrator(record: settings.Record) -> str:
    """The cloud that sets up the lab."""
    return "lab-admin" if record.keystone_port else "lab"


def _check_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it mounts a file system and makes loop devices")


def _check_requirements(keystone: bool) -> None:
    _check_root()
    if pool.mkfs() is None:
        raise LabError("mkfs.xfs is missing: install the package xfsprogs (apt install xfsprogs)")
    wanted = ["cinder", "cinderclient", "openstack", "waitress"]
    wanted += ["keystone"] if keystone else []
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise LabError(f"{', '.join(missing)}: not installed; pip install 'volflow[lab]'")


def _listener() -> socket.socket:
    """A socket on a free port of the loopback interface."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


def _child_environment(record: settings.Record) -> dict[str, str]:
    """The environment of the lab's processes: `down` finds them by it."""
    package = Path(__file__).resolve().parent.parent
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **{name: value for name, value in os.environ.items() if name not in settings.PROXIES},
        process.TOKEN_VARIABLE: record.token,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _not_yet(urls: list[str], client: Any, services: int) -> str:
    """What a starting lab still waits for; empty if it is ready."""
    for url in urls:
        if not _answers(url):
            return f"{url} does not answer"
    try:
        states = [each.state for each in client.services.list()]
        backends = len(client.pools.list())
    except Exception as error:  # noqa: BLE001 - reported when the time is over
        return str(error)
    if states.count("up") < services:
        return "not all services are up"
    # The scheduler's own view: a backend that it does not know gets no volume.
    return "" if backends == len(settings.BACKENDS) else "the scheduler does not know all backends"


def _answers(url: str) -> bool:
    """Whether a server answers at all."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def _populate(client: Any) -> None:
    """Volume types, and large quotas."""
    plain = client.volume_types.create(settings.VOLUME_TYPE, description="The lab's pool")
    plain.set_keys({"volume_backend_name": settings.BACKEND_NAME})
    shared = client.volume_types.create(
        settings.MULTIATTACH_TYPE, description="The lab's pool, many attachments at once"
    )
    shared.set_keys({"volume_backend_name": settings.BACKEND_NAME, "multiattach": "<is> True"})
    # Cinder ignores options such as quota_volumes: the default class in the database counts.
    client.quota_classes.update(
        "default", volumes=5000, snapshots=5000, gigabytes=100000, backups=1000, groups=500
    )
