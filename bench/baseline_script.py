"""A backup of one volume by a script: what somebody without volflow would write.

``baseline_script.py VOLUME_ID DIRECTORY`` makes the same calls of Cinder as volflow, with the same
clients, polls as often, and runs the same three commands of restic: ``snapshots``, which checks the
repository before anything is created in the cloud and finds the parent, ``backup``, and a second
``backup`` of one small file, which says that the first one is complete. restic's own environment
variables name the repository and its password. The script cleans up after an error. It has no
state, no resume, no manifest and no holes.

With ``--unchecked`` it skips the first command, and restic finds the parent itself, by host and
path. A wrong password is then noticed only when the snapshot and the volume exist.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import openstack.config
import os_brick
import os_brick.privileged
from cinderclient import client, exceptions
from os_brick.initiator import connector
from oslo_config import cfg

# The same intervals as in volflow, see its [wait].
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.25, 1.3, 2.0

# $1: device, $2: type, $3: options, $4: mount point; then the command.
MOUNTED = """
set -e
mount -t "$2" -o "$3" "$1" "$4"
place=$4
shift 4
status=0
(cd "$place" && exec "$@") || status=$?
umount "$place"
exit $status
"""


def main() -> int:
    volume_id, directory, unchecked = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    mount_point = directory / "mount"
    mount_point.mkdir(parents=True, exist_ok=True)
    parent = [] if unchecked else last_backup(volume_id)
    set_up_brick(directory / "locks")
    cinder = log_in()
    command = [*backup_command(volume_id), *parent, "."]
    with (
        snapshot(cinder, volume_id) as source,
        volume_from(cinder, source) as copy,
        attached(cinder, copy) as device,
    ):
        status = mounted(device, mount_point, "ro,nosuid,nodev,noexec", *command)
        return status or confirm(volume_id, directory)


def last_backup(volume_id: str) -> list[str]:
    """The option that names the parent backup; exits if the repository does not exist."""
    done = subprocess.run(["restic", "snapshots", "--json"], stdout=subprocess.PIPE, check=True)
    mine = [each for each in json.loads(done.stdout) or [] if each["hostname"] == volume_id]
    return ["--parent", max(mine, key=lambda each: each["time"])["id"]] if mine else ["--force"]


def backup_command(volume_id: str) -> list[str]:
    """The restic command that volflow runs, without the parent and the paths."""
    return ["restic", "backup", "--json", "--host", volume_id, "--tag", "by-hand"]


def confirm(volume_id: str, directory: Path) -> int:
    """Say in the repository that the last backup of the volume is complete, and see that it has it.

    Like volflow, it does not trust the cache of restic.
    """
    verdict = directory / "verdict"
    verdict.write_text("complete\n")
    subprocess.run([*backup_command(f"checked-{volume_id}"), "--force", verdict], check=True)
    seen = ["restic", "snapshots", "--no-lock", "--no-cache", "--host", f"checked-{volume_id}"]
    return subprocess.run(seen, stdout=subprocess.DEVNULL).returncode


def log_in() -> Any:
    """A Cinder client for the cloud that the environment names."""
    region = openstack.config.OpenStackConfig().get_one()
    return client.Client("3.71", session=region.get_session(), region_name=region.region_name)


def set_up_brick(locks: Path) -> None:
    """Make os-brick run its privileged code in this process, which is root."""
    os_brick.setup(cfg.CONF)
    locks.mkdir(parents=True, exist_ok=True)
    cfg.CONF.set_override("lock_path", str(locks), group="os_brick")
    for context in (os_brick.privileged.default, os_brick.privileged.brick_privsep_hide_output):
        context.set_client_mode(False)


@contextmanager
def snapshot(cinder: Any, volume_id: str) -> Iterator[Any]:
    made = cinder.volume_snapshots.create(volume_id, name="by-hand")
    try:
        yield wait_until(lambda: cinder.volume_snapshots.get(made.id), "available")
    finally:
        cinder.volume_snapshots.delete(made.id)
        wait_until_gone(lambda: cinder.volume_snapshots.get(made.id))


@contextmanager
def volume_from(cinder: Any, source: Any) -> Iterator[str]:
    made = cinder.volumes.create(source.size, snapshot_id=source.id, name="by-hand")
    try:
        wait_until(lambda: cinder.volumes.get(made.id), "available")
        yield str(made.id)
    finally:
        cinder.volumes.delete(made.id)
        wait_until_gone(lambda: cinder.volumes.get(made.id))


@contextmanager
def attached(cinder: Any, volume_id: str) -> Iterator[str]:
    """The device of a volume while it is attached to this host."""
    here = connector.get_connector_properties(
        "", "127.0.0.1", False, False, host=socket.gethostname()
    )
    attachment_id = cinder.attachments.create(volume_id, here)["id"]
    try:
        connection = cinder.attachments.show(attachment_id).to_dict()["connection_info"]
        initiator = connector.InitiatorConnector.factory(
            connection["driver_volume_type"].upper(),
            "",
            use_multipath=False,
            device_scan_attempts=3,
            conn=connection,
            do_local_attach=True,
        )
        device = initiator.connect_volume(connection)
        try:
            cinder.attachments.complete(attachment_id)
            yield os.fsdecode(device["path"])
        finally:
            initiator.disconnect_volume(connection, device)
    finally:
        cinder.attachments.delete(attachment_id)


def mounted(
    device: str, mount_point: Path, options: str, *command: str, output: IO[str] | None = None
) -> int:
    """The exit status of a command that runs where the device is mounted, in its own namespace."""
    shell = ["sh", "-c", MOUNTED, "sh", device, "ext4", options, str(mount_point), *command]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "slave", *shell],
        stdin=subprocess.DEVNULL,
        stdout=output,
        # The same interval as in volflow.
        env={**os.environ, "RESTIC_PROGRESS_FPS": "2"},
        check=False,
    )
    return done.returncode


def wait_until(look: Callable[[], Any], status: str) -> Any:
    pause = FIRST_PAUSE
    while (found := look()).status != status:
        if found.status.startswith("error"):
            raise RuntimeError(f"{found.id} is in state {found.status}")
        time.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_PAUSE)
    return found


def wait_until_gone(look: Callable[[], Any]) -> None:
    pause = FIRST_PAUSE
    while True:
        try:
            found = look()
        except exceptions.NotFound:
            return
        if found.status == "error_deleting":
            raise RuntimeError(f"{found.id} is in state {found.status}")
        time.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_PAUSE)


if __name__ == "__main__":
    sys.exit(main())
