"""The lab itself: a real Cinder that comes, works, and goes without a trace.

Every test has what it makes removed by id afterwards, also when it fails; the labs go as a whole.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import Lab, LabError, clouds, loop, pool, settings

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif(pool.mkfs() is None, reason="the lab needs mkfs.xfs (xfsprogs)"),
]
pytest.importorskip("cinder", reason="the lab needs cinder")
pytest.importorskip("waitress", reason="the lab needs waitress")

CONNECTOR = {"host": "test-host", "initiator": "iqn.2026-01.org.example:test", "multipath": False}
CHECKOUT = Path(__file__).resolve().parents[2]
MIB = 1024**2


class Cloud:
    """What a test does with Cinder; it knows what it has made."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._made: list[tuple[Callable[[str], Any], Callable[[str], Any], str]] = []

    def volume(self, size: int = 1, **options: Any) -> Any:
        """Make a volume and wait for it."""
        manager = self.client.volumes
        made = manager.create(size, **options)
        self._made.append((manager.delete, manager.get, made.id))
        return self.reaches(manager.get, made.id, "available")

    def snapshot(self, volume: Any) -> Any:
        """Take a snapshot and wait for it."""
        manager = self.client.volume_snapshots
        made = manager.create(volume.id)
        self._made.append((manager.delete, manager.get, made.id))
        return self.reaches(manager.get, made.id, "available")

    def attach(self, volume: Any) -> tuple[str, Path]:
        """Attach a volume to this host as volflow does; the attachment's id and the device."""
        from os_brick.initiator import connector

        manager = self.client.attachments
        made = _id(manager.create(volume.id, None, None, "null"))
        self._made.append((manager.delete, manager.show, made))
        manager.update(made, CONNECTOR)
        info = manager.show(made).connection_info
        brick = connector.InitiatorConnector.factory(info["driver_volume_type"], None)
        device = Path(brick.connect_volume(info)["path"])
        manager.complete(made)
        return made, device

    def detach(self, attachment: str) -> None:
        """Delete an attachment."""
        self.client.attachments.delete(attachment)

    def delete(self, resource: Any) -> None:
        """Delete a volume or a snapshot and wait until it is gone."""
        for delete, get, made in self._made:
            if made == resource.id:
                delete(made)
                self.gone(get, made)

    def clean(self) -> None:
        """Delete everything that is still there, the last first."""
        from cinderclient import exceptions

        problems = []
        for delete, get, made in reversed(self._made):
            try:
                delete(made)
                self.gone(get, made)
            except exceptions.NotFound:
                continue
            except Exception as error:  # noqa: BLE001 - the others are to go all the same
                problems.append(f"{made}: {error}")
        assert not problems

    def reaches(self, get: Callable[[str], Any], made: str, status: str) -> Any:
        """Wait until something has a status; an error status ends the wait."""
        deadline = time.monotonic() + 60
        while True:
            found = get(made)
            if found.status == status:
                return found
            assert "error" not in found.status, f"{made} is {found.status}"
            assert time.monotonic() < deadline, f"{made} is {found.status} and not {status}"
            time.sleep(0.1)

    def gone(self, get: Callable[[str], Any], made: str) -> None:
        """Wait until something is no longer there."""
        from cinderclient import exceptions

        deadline = time.monotonic() + 60
        with contextlib.suppress(exceptions.NotFound):
            while True:
                status = getattr(get(made), "status", "")
                assert "error" not in status, f"{made} is {status}"
                assert time.monotonic() < deadline, f"{made} is still there, {status}"
                time.sleep(0.1)


def _id(attachment: Any) -> str:
    # From microversion 3.27 on the client returns a dictionary where it once had an object.
    return str(attachment["id"] if isinstance(attachment, dict) else attachment.id)


def write(device: Path, data: bytes, offset: int = 0) -> None:
    """Write to a block device and see that it has arrived."""
    with open(device, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def read(device: Path, size: int, offset: int = 0) -> bytes:
    """Read from a block device."""
    with open(device, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def exported(device: Path) -> Callable[[], bool]:
    """Tells whether a loop device is still bound to the file that it is bound to now.

    Others on this machine may take its number as soon as it is free.
    """
    (now,) = [each for each in loop.in_use() if each.path == device]
    return lambda: any((each.number, each.file) == (now.number, now.file) for each in loop.in_use())


def is_up(lab: Lab) -> bool:
    """Whether a lab's server process runs."""
    try:
        return bool(lab.pid)
    except LabError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what the kernel does in its own time."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def remains(directory: Path) -> list[str]:
    """Everything of a lab that the machine still knows: mounts, devices, processes, files."""
    text = str(directory)
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if text in line]
    for name in glob.glob("/sys/block/loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            backing = Path(name).read_text().strip()
            found += [f"{name}: {backing}"] if text in backing else []
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = Path(name).read_bytes().decode(errors="replace").split("\0")
            found += [f"{name}: {words}"] if text in words else []
    if directory.exists():
        found.append(f"{directory}: {sorted(entry.name for entry in directory.iterdir())}")
    return found


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The lab's command line, as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "lab", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=check,
        timeout=120,
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab without Keystone that the tests share."""
    lab = Lab(tmp_path_factory.mktemp("shared") / "lab")
    try:
        yield lab.up(size_gib=20)
    finally:
        lab.down()
    assert not remains(lab.directory.path)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab of a test's own, not up yet; whatever becomes of it, it is down in the end."""
    lab = Lab(tmp_path / "lab")
    try:
        yield lab
    finally:
        lab.down()
    assert not remains(lab.directory.path)


@pytest.fixture
def cloud(running: Lab) -> Iterator[Cloud]:
    """The shared lab's Cinder, clean again after the test."""
    found = Cloud(running.cinder())
    try:
        yield found
    finally:
        found.clean()


class TestCommandLine:
    def test_up_status_env_down(self, own: Lab) -> None:
        where = ("--dir", str(own.directory.path))
        assert run("status", *where, check=False).returncode != 0

        told = run("up", *where, "--size", "3").stdout
        assert own.endpoint in told
        assert f"lab down --dir {shlex.quote(where[1])}" in told

        status = run("status", *where).stdout
        assert str(own.pid) in status
        assert own.endpoint in status
        assert status.count(" up\n") == 3
        assert "of 3 GiB free" in status

        exports = run("env", *where).stdout
        shell = subprocess.run(
            ["sh", "-c", f'{exports}\necho "$OS_CLOUD" "$OS_CLIENT_CONFIG_FILE"'],
            capture_output=True,
            text=True,
            check=True,
        )
        assert shell.stdout.split() == ["lab", str(own.clouds_file)]

        again = run("up", *where, check=False)
        assert again.returncode == 1
        assert "already up" in again.stderr

        run("down", *where)
        assert not remains(own.directory.path)
        assert run("status", *where, check=False).returncode != 0
        assert run("env", *where, check=False).returncode != 0
        assert run("down", *where).returncode == 0

    def test_files_that_are_no_lab_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "precious").touch()
        for command in ("up", "down"):
            refused = run(command, "--dir", str(tmp_path), check=False)
            assert refused.returncode == 1
            assert "left alone" in refused.stderr
        assert (tmp_path / "precious").exists()

    @pytest.mark.parametrize(
        ("target", "name", "value", "message"),
        [
            (os, "geteuid", lambda: 1000, "needs root"),
            (pool, "mkfs", lambda: None, "xfsprogs"),
        ],
    )
    def test_what_is_missing_is_said(
        self,
        monkeypatch: pytest.MonkeyPatch,
        own: Lab,
        target: Any,
        name: str,
        value: Any,
        message: str,
    ) -> None:
        monkeypatch.setattr(target, name, value)
        with pytest.raises(LabError, match=message):
            own.up()
        assert not remains(own.directory.path)

    def test_a_missing_cinder_is_said(self, own: Lab) -> None:
        done = subprocess.run(
            # -S: without the installed packages.
            [sys.executable, "-S", "-m", "lab", "up", "--dir", str(own.directory.path)],
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "pip install 'volflow[lab]'" in done.stderr


class TestCloud:
    def test_the_clouds_file_serves_a_session(self, running: Lab) -> None:
        from cinderclient import client
        from openstack import config

        assert stat.S_IMODE(running.clouds_file.stat().st_mode) == 0o600
        region = config.OpenStackConfig(
            config_files=[str(running.clouds_file)], load_envvars=False
        ).get_one("lab")
        cinder = client.Client("3.70", session=region.get_session())

        types = {each.name: each.extra_specs for each in cinder.volume_types.list()}
        assert types["lab"] == {"volume_backend_name": "lab"}
        assert types["lab-multiattach"]["multiattach"] == "<is> True"
        assert {each.zoneName for each in cinder.availability_zones.list()} == {"nova", "second"}
        assert cinder.quotas.get(settings.PROJECT).volumes >= 1000

    @pytest.mark.parametrize("many", [10, 20])
    def test_parallel_pipelines(self, running: Lab, many: int) -> None:
        def pipeline(number: int) -> None:
            mine = Cloud(clouds.cinder(running.clouds_file))
            try:
                volume = mine.volume(name=f"pipeline {number}")
                snapshot = mine.snapshot(volume)
                copy = mine.volume(snapshot_id=snapshot.id)
                attachment, device = mine.attach(copy)
                assert mine.client.volumes.get(copy.id).status == "in-use"
                text = f"volume {copy.id}".encode() * 1000
                write(device, text)
                assert read(device, len(text)) == text
                mine.detach(attachment)
                mine.reaches(mine.client.volumes.get, copy.id, "available")
                mine.delete(copy)
                mine.delete(snapshot)
                mine.delete(volume)
            finally:
                mine.clean()

        with ThreadPoolExecutor(many) as threads:
            for done in [threads.submit(pipeline, number) for number in range(many)]:
                done.result()
        log = (running.directory.logs / "cinder.log").read_text()
        assert "returned with HTTP 5" not in log
        assert "database is locked" not in log

    def test_data_goes_all_the_way_round(self, cloud: Cloud) -> None:
        volume = cloud.volume()
        attachment, device = cloud.attach(volume)
        before = os.urandom(MIB)
        write(device, before, offset=700 * MIB)

        snapshot = cloud.snapshot(volume)  # in use
        write(device, b"later" * 1000, offset=700 * MIB)

        copy = cloud.volume(2, snapshot_id=snapshot.id)
        its_attachment, its_device = cloud.attach(copy)
        assert read(its_device, MIB, offset=700 * MIB) == before
        assert read(its_device, MIB, offset=2047 * MIB) == bytes(MIB)  # what was added
        cloud.detach(its_attachment)

        is_exported = exported(device)
        cloud.detach(attachment)
        assert not is_exported()
        available = cloud.reaches(cloud.client.volumes.get, volume.id, "available")
        cloud.client.volumes.revert_to_snapshot(available, snapshot)
        cloud.reaches(cloud.client.volumes.get, volume.id, "available")
        attachment, device = cloud.attach(volume)
        assert read(device, MIB, offset=700 * MIB) == before
        cloud.detach(attachment)

    def test_a_volume_in_use_grows(self, cloud: Cloud) -> None:
        volume = cloud.volume()
        attachment, device = cloud.attach(volume)
        cloud.client.volumes.extend(volume.id, 3)
        cloud.reaches(cloud.client.volumes.get, volume.id, "in-use")
        write(device, b"the end", offset=3 * pool.GIB - 7)
        assert read(device, 100, offset=3 * pool.GIB - 7) == b"the end"
        cloud.detach(attachment)

    def test_attachments_share_a_device_until_the_last_goes(self, cloud: Cloud) -> None:
        volume = cloud.volume(volume_type="lab-multiattach")
        first, device = cloud.attach(volume)
        second, same = cloud.attach(volume)
        assert device == same
        is_exported = exported(device)
        cloud.detach(first)
        assert is_exported()
        third, same = cloud.attach(volume)
        assert device == same

        # Both at once: each still sees the other one in the database.
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(cloud.detach, [second, third]))
        assert not is_exported()

    def test_a_device_that_is_still_open_goes_with_its_user(self, cloud: Cloud) -> None:
        volume = cloud.volume()
        attachment, device = cloud.attach(volume)
        is_exported = exported(device)
        with open(device, "rb"):
            cloud.detach(attachment)
            again, another = cloud.attach(volume)
            assert another != device
        wait_until(lambda: not is_exported())
        cloud.detach(again)

    def test_zones(self, cloud: Cloud) -> None:
        volume = cloud.volume(availability_zone="second")
        copy = cloud.volume(snapshot_id=cloud.snapshot(volume).id)
        assert copy.availability_zone == "second"
        assert cloud.volume().availability_zone == "nova"

    def test_keystone_keeps_projects_apart(self, own: Lab) -> None:
        from cinderclient import exceptions

        own.up(keystone=True, size_gib=5)
        alpha, beta, admin = (
            Cloud(own.cinder(name)) for name in ("lab-alpha", "lab-beta", "lab-admin")
        )
        volume = beta.volume()
        with pytest.raises(exceptions.NotFound):
            alpha.client.volumes.get(volume.id)
        for seen in ({}, {"all_tenants": 1}):
            assert alpha.client.volumes.list(search_opts=seen) == []
        assert [each.id for each in beta.client.volumes.list()] == [volume.id]
        assert admin.client.volumes.get(volume.id).id == volume.id
        with pytest.raises(exceptions.Forbidden):
            alpha.client.services.list()

        attachment, device = beta.attach(volume)
        write(device, b"beta")
        beta.detach(attachment)
        beta.clean()
        assert {each["state"] for each in own.status().services} == {"up"}


class TestKilled:
    def test_down_after_the_server_was_killed(self, running: Lab, own: Lab) -> None:
        own.up(size_gib=5)
        mine = Cloud(own.cinder())
        _, device = mine.attach(mine.volume())
        subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
        stacked = loop.attach(device)
        # A worker that has mounted a volume where nobody else sees it, and was killed with it: its
        # namespace also holds a copy of the pool's mount.
        point = own.directory.path.parent / "mnt"
        point.mkdir()
        script = f"mount {stacked} {shlex.quote(str(point))} && echo mounted && exec sleep 60"
        holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n"
            os.kill(own.pid, signal.SIGKILL)
            wait_until(lambda: not is_up(own))
            with pytest.raises(LabError, match="no lab is running"):
                own.status()
            still = [exported(device), exported(stacked)]
            assert all(each() for each in still)

            own.down()
            assert not remains(own.directory.path)
            assert not any(each() for each in still)
        finally:
            holder.kill()
            holder.communicate()
        assert {each["state"] for each in running.status().services} == {"up"}

    @pytest.mark.parametrize("seconds", [0.5, 1.8])
    def test_down_after_up_was_killed(self, own: Lab, seconds: float) -> None:
        self._killed(own, seconds)
        own.down()
        assert not remains(own.directory.path)

    @pytest.mark.parametrize("seconds", [0.5, 1.8])
    def test_up_after_up_was_killed(self, own: Lab, seconds: float) -> None:
        self._killed(own, seconds)
        own.up(size_gib=5)
        mine = Cloud(own.cinder())
        mine.volume()
        mine.clean()
        assert len(own.status().services) == 3
        assert len([each for each in remains(own.directory.path) if "lab.server" in each]) == 1

    def _killed(self, lab: Lab, seconds: float) -> None:
        """An ``up`` that is killed after so many seconds."""
        words = [sys.executable, "-m", "lab", "up", "--dir", str(lab.directory.path), "--size", "5"]
        first = subprocess.Popen(
            words, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(seconds)
        first.kill()
        first.communicate()
        with pytest.raises(LabError):
            lab.status()


class TestLoop:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Iterator[list[Path]]:
        """Some files; their loop devices are freed afterwards."""
        made = [tmp_path / str(number) for number in range(12)]
        for file in made:
            file.write_bytes(b"")
            os.truncate(file, MIB)
        try:
            yield made
        finally:
            for device in loop.under(tmp_path):
                assert loop.detach(device)

    def test_many_at_once_get_a_device_each(self, files: list[Path]) -> None:
        with ThreadPoolExecutor(len(files)) as threads:
            devices = list(threads.map(loop.attach, files))
        assert len(set(devices)) == len(files)
        for file, device in zip(files, devices, strict=True):
            assert [each.path for each in loop.of_file(file)] == [device]

    def test_a_missing_or_wrong_node_is_put_right(self, files: list[Path]) -> None:
        device = loop.attach(files[0])  # ours, so that nobody else uses its node
        number = int(device.name.removeprefix("loop"))
        right = device.stat().st_rdev
        for wrong in (None, os.makedev(1, 3)):
            device.unlink()
            if wrong:
                os.mknod(device, 0o600 | stat.S_IFCHR, wrong)
            assert loop.node(number) == device
            assert device.stat().st_rdev == right

    @pytest.mark.parametrize("direct_io", [False, True])
    def test_what_is_written_arrives(self, files: list[Path], direct_io: bool) -> None:
        device = loop.attach(files[0], direct_io=direct_io)
        write(device, b"here", offset=4096)
        (found,) = loop.of_file(files[0])
        assert loop.detach(found)
        assert not loop.of_file(files[0])
        assert files[0].read_bytes()[4096:4100] == b"here"

    def test_a_device_that_another_has_taken_is_left_alone(self, files: list[Path]) -> None:
        device = loop.attach(files[0])
        (found,) = loop.of_file(files[0])
        is_exported = exported(device)
        stranger = loop.Loop(found.number, "/somewhere/else", autoclear=False)
        assert loop.detach(stranger)
        assert is_exported()


def test_the_programs_of_these_tests_are_there() -> None:
    """Said here once, rather than by a strange failure above."""
    assert all(shutil.which(name) for name in ("unshare", "nsenter", "mkfs.ext4"))
