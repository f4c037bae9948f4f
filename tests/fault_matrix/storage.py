"""Faults of restic, of the repository's storage, and of the volume."""

from __future__ import annotations

import os
import secrets
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.fault_matrix.case import REPOSITORY, Case
from tests.fault_matrix.image import TEXT
from tests.fault_matrix.testbed import Testbed
from tests.support import tree
from tests.support.cloud import run
from tests.support.fault_kinds import Fault
from tests.support.gate import certificates
from tests.support.outages import Mood, Outage
from tests.support.rest_server import RestServer
from tests.support.waiting import until_settled

# More than two restic packs, so that a copy can be interrupted half-way.
_LARGE = 56 * tree.MIB
# Less data than that.
_SMALL_DISK = "24m"
_VICTIM = "directory/07"
# The moments at which an outage of the repository's server begins: the kind of a call, its methods
# in a restore and in a backup, and which of these calls.
MOMENTS = {
    "look": ("config", ("GET HEAD", "GET HEAD"), 1),
    "list": ("snapshots/", ("GET", "GET"), 1),
    "copy": ("data", ("GET", "POST"), 2),
    "data stored": ("snapshots", ("", "POST"), 1),
    "verdict": ("snapshots", ("", "POST"), 2),
}


@contextmanager
def faulty(testbed: Testbed, case: Case) -> Iterator[tuple[Testbed, Callable[[], None]]]:
    """A testbed on which restic will fail, and the function that ends the fault."""
    if case.fault is Fault.UNREADABLE:
        with _volume(testbed, "unreadable", _plain) as here:
            yield _damaged(here), lambda: None
    elif case.fault is Fault.DISK_FULL:
        with (
            _small_disk(testbed) as disk,
            _volume(_begun(testbed, disk), "large", _large) as here,
        ):
            yield here, lambda: None
    else:
        directory = testbed.home.parent / f"served-{secrets.token_hex(4)}"
        certificate, contexts = _certificates(testbed, case)
        environment = {**testbed.environment, "SSL_CERT_FILE": str(certificate)}
        with (
            RestServer(directory, contexts) as server,
            _volume(
                _begun(
                    replace(testbed, environment=environment if contexts else testbed.environment),
                    directory,
                    server.location,
                ),
                "large",
                _large,
            ) as here,
        ):
            if case.flow != "backup":
                here.baseline = here.back_up()
            yield here, _trouble(here, server, case)


@contextmanager
def doomed(testbed: Testbed) -> Iterator[Testbed]:
    """A testbed with a source that may be removed."""
    with _volume(testbed, "old", _plain) as here:
        here.baseline = here.back_up()
        yield here


@contextmanager
def grouped(testbed: Testbed) -> Iterator[Testbed]:
    """A testbed with a source in a group."""
    client = testbed.cloud.client
    types = [kind.id for kind in client.volume_types.list()]
    with _volume(testbed, "member", _plain) as here:
        kind = client.group_types.create(f"cells-{secrets.token_hex(4)}", "Of the matrix")
        group = client.groups.create(kind.id, ",".join(types), "group", "").id
        try:
            until_settled(client.groups.get, group)
            client.groups.update(group, add_volumes=here.source)
            until_settled(client.groups.get, group)
            here.look()
            yield replace(here, group=group)
        finally:
            until_settled(client.groups.get, group)
            client.groups.update(group, remove_volumes=here.source)
            until_settled(client.groups.get, group)
            client.groups.delete(group)


def _begun(testbed: Testbed, directory: Path, location: str | None = None) -> Testbed:
    """A testbed with its own repository, and a backup in it that must not be lost."""
    here = replace(testbed, repository_path=directory, location=location)
    here.init()
    here.back_up()
    return here


def _certificates(
    testbed: Testbed, case: Case
) -> tuple[Path, tuple[ssl.SSLContext, ssl.SSLContext] | None]:
    """The certificate and the contexts of the repository's server, if the case needs TLS."""
    if isinstance(case.fault, Outage) and case.fault.mood is Mood.UNTRUSTED:
        return certificates(testbed.home / "tls-repository")
    return Path(), None


def _trouble(here: Testbed, server: RestServer, case: Case) -> Callable[[], None]:
    """Cause the fault when restic is half-way; return the function that ends it."""
    if isinstance(case.fault, Outage):
        moment = case.where.removeprefix(f"{REPOSITORY}, ")
        kind, methods, count = MOMENTS[moment]
        server.break_down(case.fault, methods[case.flow == "backup"], count, kind=kind)

        def end() -> None:
            server.weather.end()
            if not server.happened:
                raise RuntimeError("restic did not make the call")

        return end

    def kill() -> None:
        for pid in _restics(here.home):
            os.kill(pid, signal.SIGKILL)

    def go() -> None:
        server.down = True

    acts = {Fault.RESTIC_KILLED: kill, Fault.UNREACHABLE: go}
    server.after("POST" if case.flow == "backup" else "GET", 2, acts.get(case.fault, here.kill))

    def repair() -> None:
        server.down = False
        if not server.happened:
            raise RuntimeError("restic ended before the fault")

    return repair


def _restics(home: Path) -> Iterator[int]:
    """The processes of restic that work for this testbed."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[0].endswith(b"restic") and any(os.fsencode(home) in each for each in command):
            yield int(entry.name)


@contextmanager
def _volume(testbed: Testbed, name: str, fill: Callable[[Path], None]) -> Iterator[Testbed]:
    """A testbed with another volume as its source."""
    volume = testbed.cloud.create(name=name, description="as it was")
    try:
        testbed.cloud.fill(volume, "ext4", fill)
        here = replace(testbed, source=volume, reference=None)
        here.look()
        yield here
    finally:
        testbed.cloud.delete(volume)


def _plain(root: Path) -> None:
    (root / "directory").mkdir()
    for number in range(20):
        (root / "directory" / f"{number:02}").write_text(f"{number}\n" * 50)
    (root / TEXT).write_text("as it was\n")
    (root / "sparse").touch()
    os.utime(root / "sparse", ns=(tree.MOMENT, tree.MOMENT))


def _large(root: Path) -> None:
    _plain(root)
    for number in range(8):
        (root / f"large{number}").write_bytes(secrets.token_bytes(_LARGE // 8))


def _damaged(testbed: Testbed) -> Testbed:
    """This testbed, with one file that has a damaged inode."""
    # The test does not check it again.
    testbed.change()
    with testbed.cloud.attached(testbed.source) as device:
        run("debugfs", "-w", "-R", f"set_inode_field /{_VICTIM} block[0] 0", device)
        run("sync")
    left = {path: entry for path, entry in testbed.present.items() if path != os.fsencode(_VICTIM)}
    return replace(testbed, present=left, changed=testbed.state())


@contextmanager
def _small_disk(testbed: Testbed) -> Iterator[Path]:
    disk = testbed.home.parent / "small-disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "tmpfs", str(disk))
    try:
        yield disk / "repository"
    finally:
        run("umount", str(disk))
        disk.rmdir()
