"""Proves that a block device is the volume that Cinder exported, as far as its protocol can.

Each protocol names the volume in the connection info, and the kernel shows in sysfs what a device
is connected to. Where both are known, they must agree:

* iSCSI: target and LUN (``/sys/class/iscsi_session/*/targetname``)
* Fibre Channel: WWN of the target port, and LUN (``/sys/class/fc_remote_ports/*/port_name``)
* NVMe-oF: UUID or NGUID of the namespace
* RBD: pool and image (``Documentation/ABI/testing/sysfs-bus-rbd``)
* loop devices, and LVM on this host: the id of the volume in the name of the file or LV
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volflow.host.devices import SYSFS, BlockDevice

_GIB = 1024**3
# Most back ends make exactly the GiB that Cinder asks for. Some round up: LVM to extents of 4 MiB,
# PowerMax to cylinders of 1.875 MiB, DS8000 to extents of 16 MiB.
_ROUNDING = 64 * 1024**2
# PowerFlex makes volumes in steps of 8 GiB, whatever Cinder asks for
# (cinder/volume/drivers/dell_emc/powerflex: powerflex_round_volume_capacity).
_ROUNDINGS = {"scaleio": 8 * _GIB}

# Cinder's names on the back end, as long as nobody changes ``volume_name_template``.
_NAMED = re.compile(r"\bvolume-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# The kernel shows a LUN as it is on the wire: in the flat address space, bit 14 is set.
_LUN = 0x3FFF


class Proof:
    """What the connection info of an attachment says about a device.

    :param connection: the ``connection_info``
    :param volume: the volume, as the API shows it
    :param sysfs: where sysfs is mounted
    """

    def __init__(
        self, connection: Mapping[str, Any], volume: Mapping[str, Any], sysfs: Path = SYSFS
    ) -> None:
        self._connection = connection
        self._protocol = str(connection["driver_volume_type"]).lower()
        self._volume = volume
        self._sysfs = sysfs

    def against(self, device: BlockDevice) -> str | None:
        """Why the device cannot be the volume; None if nothing speaks against it."""
        looks = (self._other_size, self._other_name, self._other_scsi, self._other_nvme)
        found = (look(device) for look in (*looks, self._other_image))
        return next((why for why in found if why), None)

    def _other_size(self, device: BlockDevice) -> str | None:
        wanted, found = int(self._volume["size"]) * _GIB, device.size
        if wanted <= found < wanted + _ROUNDINGS.get(self._protocol, _ROUNDING):
            return None
        return f"it has {found} bytes, and the volume has {wanted}"

    def _other_name(self, device: BlockDevice) -> str | None:
        file = Path(device.attribute("loop/backing_file").removesuffix(" (deleted)")).name
        # LVM doubles each hyphen.
        logical = device.attribute("dm/name").replace("--", "-")
        named = _NAMED.findall(f"{file} {logical}".lower())
        # The back end knows a migrated volume by a second id.
        ids = {self._volume["id"], self._volume.get("os-vol-mig-status-attr:name_id")}
        return f"it is that of volume {named[0]}" if named and not ids & set(named) else None

    def _other_scsi(self, device: BlockDevice) -> str | None:
        wanted = _targets(self._connection)
        paths = [target for target in map(self._target, device.parts) if target]
        # A multipath device can have paths by other ports of the storage too.
        if not wanted or not paths or set(wanted) & set(paths):
            return None
        names = {name for name, _ in wanted}
        known = [path for path in paths if path[0] in names]
        # os-brick looks for further targets by discovery unless Cinder names several.
        if not known and len(device.parts) > 1 and "target_iqns" not in self._connection:
            return None
        (found, lun), (target, wanted_lun) = (known or paths)[0], wanted[0]
        return f"it is LUN {lun} of {found}, and the volume is LUN {wanted_lun} of {target}"

    def _target(self, part: BlockDevice) -> tuple[str, int] | None:
        """The target and the LUN of a SCSI disk; None if it has none, or they are not known."""
        address = re.fullmatch(r"\d+:\d+:\d+:(\d+)", part.sysfs_path.parent.parent.name)
        if not address:
            return None
        for directory in part.sysfs_path.parts:
            if re.fullmatch(r"session\d+", directory):
                file = self._sysfs / "class/iscsi_session" / directory / "targetname"
            elif re.fullmatch(r"rport-[\d:-]+", directory):
                file = self._sysfs / "class/fc_remote_ports" / directory / "port_name"
            else:
                continue
            name = file.read_text(encoding="ascii").strip() if file.exists() else ""
            return (_plain(name), int(address[1]) & _LUN) if name else None
        return None

    def _other_nvme(self, device: BlockDevice) -> str | None:
        wanted = {_hex(each) for each in _values(self._connection, ("vol_uuid", "volume_nguid"))}
        for part in device.parts:
            found = {_hex(part.attribute(name)) for name in ("uuid", "nguid")} - {""}
            if part.name.startswith("nvme") and wanted and found and not wanted & found:
                return f"{part.name} is the namespace {', '.join(sorted(found))}"
        return None

    def _other_image(self, device: BlockDevice) -> str | None:
        pool, name = device.attribute("device/pool"), device.attribute("device/name")
        wanted = self._connection.get("name")
        if self._protocol != "rbd" or not (pool and name and wanted):
            return None
        return None if f"{pool}/{name}" == wanted else f"it is the image {pool}/{name}"


def _targets(connection: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The targets and LUNs by which a volume can be reached."""
    found = []
    for key in ("target_iqns", "target_iqn", "target_wwns", "target_wwn"):
        names, luns = _list(connection.get(key)), _list(connection.get("target_luns"))
        if len(luns) != len(names):
            luns = [connection.get("target_lun", luns[0] if luns else None)] * len(names)
        for name, lun in zip(names, luns, strict=True):
            try:
                found.append((_plain(str(name)), int(str(lun), 0) & _LUN))
            except ValueError:
                continue  # in a form that only the driver knows
    return found


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _values(connection: Any, keys: Sequence[str]) -> list[str]:
    """The values of these keys in a connection info and in its replicas."""
    if isinstance(connection, Mapping):
        own = [str(connection[key]) for key in keys if connection.get(key)]
        return own + [each for value in connection.values() for each in _values(value, keys)]
    if isinstance(connection, list):
        return [each for value in connection for each in _values(value, keys)]
    return []


def _plain(name: str) -> str:
    """The name of a target as it is compared: a WWN without its prefix and colons."""
    name = name.lower()
    wwn = name.removeprefix("0x").replace(":", "")
    return wwn if re.fullmatch(r"[0-9a-f]{16}", wwn) else name


def _hex(value: str) -> str:
    found = re.sub(r"[^0-9a-f]", "", value.lower())
    return found.strip("0") and found
