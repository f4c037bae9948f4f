"""The lab's Cinder volume driver: sparse files in a reflink pool, exported as loop devices.

Everything is real, but a volume can only be attached on the machine that runs the
lab. A snapshot of a volume in use is crash-consistent, as with most storage: it does not hold what
its writer has not flushed.
"""

from __future__ import annotations

import collections
import os
from pathlib import Path
from typing import Any

from cinder import exception, interface
from cinder.volume import configuration, driver
from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_log import log as logging

from lab import loop, pool

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.StrOpt("lab_pool", help="Directory of the mounted reflink pool."),
    cfg.StrOpt("lab_pool_file", help="The file that holds the pool."),
    cfg.BoolOpt("lab_direct_io", default=False, help="Use direct I/O for exported devices."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


@interface.volumedriver
class LabDriver(driver.VolumeDriver):
    """Volumes of the lab."""

    VERSION = "1.0.0"
    CI_WIKI_NAME = "none"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.pool = pool.Pool(
            Path(self.configuration.lab_pool_file), Path(self.configuration.lab_pool)
        )
        self._connections: collections.Counter[str] = collections.Counter()

    @staticmethod
    def get_driver_options() -> list[cfg.Opt]:
        """This driver's options."""
        return OPTIONS

    def check_for_setup_error(self) -> None:
        """Refuse to work on a directory where no pool is mounted."""
        if not self.pool.mounted:
            raise exception.VolumeDriverException(message=f"{self.pool.mount_point}: not mounted")

    def _path(self, resource: Any) -> Path:
        """The file of a volume or a snapshot."""
        return self.pool.mount_point / str(resource.name)

    def local_path(self, volume: Any) -> str:
        """The file of a volume, for copies that Cinder makes itself."""
        return str(self._path(volume))

    # Volumes and snapshots

    def create_volume(self, volume: Any) -> None:
        """Make an empty volume."""
        _resize(self._path(volume), volume.size, create=True)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        """Make a volume that shares its blocks with a snapshot."""
        pool.clone(self._path(snapshot), self._path(volume))
        _resize(self._path(volume), volume.size)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        """Make a volume that shares its blocks with another one."""
        pool.clone(self._path(src_vref), self._path(volume))
        _resize(self._path(volume), volume.size)

    def delete_volume(self, volume: Any) -> None:
        """Remove a volume; a missing one counts as removed."""
        with self._locked(volume):
            self._unexport(volume)
            self._connections.pop(volume.id, None)
            self._path(volume).unlink(missing_ok=True)

    def create_snapshot(self, snapshot: Any) -> None:
        """Take a snapshot, also of a volume in use."""
        pool.clone(self._path(snapshot.volume), self._path(snapshot))

    def delete_snapshot(self, snapshot: Any) -> None:
        """Remove a snapshot; a missing one counts as removed."""
        self._path(snapshot).unlink(missing_ok=True)

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        """No safety copy is needed: a revert happens completely or not at all."""
        return False

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        """Revert a volume to a snapshot."""
        with self._locked(volume):
            if self._devices(volume):
                raise exception.InvalidVolume(reason=f"volume {volume.id} is exported")
            pool.clone(self._path(snapshot), self._path(volume))
            _resize(self._path(volume), volume.size)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Make a volume larger, also one in use."""
        with self._locked(volume):
            _resize(self._path(volume), new_size)
            for device in self._devices(volume):
                loop.grow(device.path)

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any, host: Any) -> bool:
        """All types are the same here."""
        return True

    def accept_transfer(self, context: Any, volume: Any, new_user: str, new_project: str) -> None:
        """Nothing to do: this driver does not know owners."""

    def clone_image(self, *args: Any) -> tuple[None, bool]:
        """Cinder copies images itself."""
        return None, False

    # Old consistency groups. Cinder handles volume groups itself.

    def create_consistencygroup(self, context: Any, group: Any) -> dict[str, str]:
        """Nothing to do: the group exists in Cinder only."""
        return {"status": "available"}

    def delete_consistencygroup(
        self, context: Any, group: Any, volumes: Any
    ) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Remove a group, with its volumes if it has any."""
        for volume in volumes:
            self.delete_volume(volume)
        return {"status": "deleted"}, [{"id": v["id"], "status": "deleted"} for v in volumes]

    def update_consistencygroup(
        self, context: Any, group: Any, add_volumes: Any = None, remove_volumes: Any = None
    ) -> tuple[None, None, None]:
        """Nothing to do: volumes join and leave in Cinder only."""
        return None, None, None

    def create_cgsnapshot(
        self, context: Any, cgsnapshot: Any, snapshots: Any
    ) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Take the snapshots of a group, one after the other."""
        for snapshot in snapshots:
            self.create_snapshot(snapshot)
        return {"status": "available"}, [{"id": s["id"], "status": "available"} for s in snapshots]

    def delete_cgsnapshot(
        self, context: Any, cgsnapshot: Any, snapshots: Any
    ) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Remove the snapshots of a group."""
        for snapshot in snapshots:
            self.delete_snapshot(snapshot)
        return {"status": "deleted"}, [{"id": s["id"], "status": "deleted"} for s in snapshots]

    # Exports

    def _locked(self, volume: Any) -> Any:
        """Only one change of a volume's exports at a time; Cinder calls from many threads."""
        return lockutils.lock(f"volflow-lab-{volume.id}")

    def _devices(self, volume: Any) -> list[loop.Loop]:
        """The loop devices that export a volume, except those that end with their last user."""
        return [each for each in loop.of_file(self._path(volume)) if not each.autoclear]

    def _unexport(self, volume: Any) -> None:
        for device in self._devices(volume):
            if loop.detach(device, timeout=1.0):
                LOG.info("%s no longer exports volume %s", device.path, volume.id)
            else:
                # As on other storage, Cinder decides: the device no longer exists for Cinder, and
                # for its user as soon as the user lets go of it.
                LOG.warning("%s of volume %s is still open", device.path, volume.id)

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing to do: `initialize_connection` exports the volume."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """Nothing to do: `initialize_connection` exports the volume."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Nothing to do: `terminate_connection` has done it."""

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> dict[str, Any]:
        """Export a volume as a loop device; all its attachments share one."""
        with self._locked(volume):
            devices = self._devices(volume)
            if devices:
                device = devices[0].path
            else:
                device = loop.attach(self._path(volume), direct_io=self.configuration.lab_direct_io)
                LOG.info("%s exports volume %s", device, volume.id)
            self._connections[volume.id] += 1
        return {"driver_volume_type": "local", "data": {"device_path": str(device)}}

    def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> bool:
        """End an export if this was the last attachment; true if others still need it.

        Neither count is enough alone: the database still has the attachment that ends, and
        those that end at the same moment; the driver's own count is one too high if an
        attachment was updated twice.
        """
        with self._locked(volume):
            self._connections[volume.id] -= 1
            attached = [each for each in volume.volume_attachment if each.connector]
            if self._connections[volume.id] > 0 and len(attached) > 1:
                return True
            self._connections.pop(volume.id, None)
            self._unexport(volume)
        return False

    # What the scheduler asks for

    def _update_volume_stats(self) -> None:
        usage = self.pool.usage()
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name"),
            "vendor_name": "volflow",
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "total_capacity_gb": usage.total / pool.GIB,
            "free_capacity_gb": usage.free / pool.GIB,
            "provisioned_capacity_gb": self._provisioned() / pool.GIB,
            "max_over_subscription_ratio": 1000.0,
            "reserved_percentage": 0,
            "thin_provisioning_support": True,
            "thick_provisioning_support": False,
            "multiattach": True,
            "online_extend_support": True,
            "sparse_copy_volume": True,
            "QoS_support": False,
        }

    def _provisioned(self) -> int:
        total = 0
        with os.scandir(self.pool.mount_point) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue  # deleted while we counted
        return total


def _resize(path: Path, gib: int, *, create: bool = False) -> None:
    """Set the size of a volume's file; the new part reads as zeros and uses no space."""
    flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        os.ftruncate(descriptor, gib * pool.GIB)
    finally:
        os.close(descriptor)
