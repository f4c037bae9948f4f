"""Attaches volumes to this host by os-brick."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from oslo_concurrency import processutils
from oslo_config import cfg

from volflow.errors import HostError
from volflow.host import eventlet
from volflow.host.identity import host_name

with warnings.catch_warnings():
    # oslo.privsep imports eventlet if it is installed, which warns that it is deprecated. Users of
    # volflow can do nothing about it.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    eventlet.load()
    import os_brick
    import os_brick.privileged
    from os_brick import exception as brick_exceptions
    from os_brick.initiator import connector

Properties = dict[str, Any]

# Where a device is, without the credentials to reach it: enough to disconnect it.
_ADDRESS = (
    *("driver_volume_type", "target_portal", "target_portals", "target_iqn", "target_iqns"),
    *("target_lun", "target_luns", "target_wwn", "target_wwns", "initiator_target_map"),
    *("target_nqn", "nqn", "portals", "vol_uuid", "volume_nguid", "ns_id", "name"),
)


class Connector:
    """os-brick, set up for this host.

    :param conf: volflow's configuration
    :param lock_path: os-brick's lock directory unless ``[host] lock_path`` is set
    """

    def __init__(self, conf: cfg.ConfigOpts, lock_path: Path) -> None:
        self._group = conf.host
        self._helper = "" if os.geteuid() == 0 else str(conf.host.root_helper)
        # os-brick reads the global object of oslo.config.
        os_brick.setup(cfg.CONF)
        if not cfg.CONF.os_brick.lock_path:
            path = Path(conf.host.lock_path or lock_path)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            cfg.CONF.set_override("lock_path", str(path), group="os_brick")
        if os.geteuid() == 0:
            for context in (
                os_brick.privileged.default,
                os_brick.privileged.brick_privsep_hide_output,
            ):
                context.set_client_mode(False)
        elif not cfg.CONF.privsep_osbrick.helper_command:
            # The PATH of sudo does not include a virtual environment.
            helper = Path(sys.prefix) / "bin" / "privsep-helper"
            cfg.CONF.set_override(
                "helper_command",
                f"{self._helper} {helper if helper.exists() else 'privsep-helper'}",
                group="privsep_osbrick",
            )

    def properties(self) -> Properties:
        """What Cinder must know about this host to export a volume to it.

        :raises HostError: not enough privilege, or multipathd is enforced and does not run
        """
        try:
            found = connector.get_connector_properties(
                self._helper,
                self._group.my_ip,
                self._group.multipath,
                self._group.enforce_multipath,
                host=host_name(),
            )
        except (brick_exceptions.BrickException, processutils.ProcessExecutionError) as error:
            raise HostError(f"os-brick cannot read this host's properties: {error}") from error
        return dict(found)

    def connect(self, connection: Properties) -> Properties:
        """Connect to the volume; returns os-brick's description of the device.

        :param connection: the attachment's ``connection_info``
        :returns: at least ``path``, the device
        :raises HostError: no device appeared, or the protocol gives none
        """
        try:
            info = dict(self._initiator(connection).connect_volume(connection))
        except (brick_exceptions.BrickException, processutils.ProcessExecutionError) as error:
            raise HostError(f"os-brick could not connect the volume: {error}") from error
        if not isinstance(info.get("path"), (str, bytes)):
            raise HostError(
                f"The storage protocol '{connection['driver_volume_type']}' gives no block device "
                "on this host; for RBD the kernel's rbd module is needed."
            )
        info["path"] = os.fsdecode(info["path"])
        return info

    def disconnect(self, connection: Properties, info: Properties, *, discard: bool) -> None:
        """Disconnect the volume, if it is connected.

        With ``discard`` os-brick only logs what it cannot remove: the caller looks whether the
        device is gone.

        :param discard: the volume will be deleted next, so a failed flush does no harm
        :raises HostError: the device could not be flushed or removed
        """
        try:
            self._initiator(connection).disconnect_volume(
                connection, info, force=discard, ignore_errors=discard
            )
        except (brick_exceptions.BrickException, processutils.ProcessExecutionError) as error:
            raise HostError(f"os-brick could not disconnect the volume: {error}") from error

    def paths(self, connection: Properties) -> list[str]:
        """The devices by which a volume is connected to this host now.

        :raises HostError: os-brick cannot tell
        """
        try:
            found = self._initiator(connection).get_volume_paths(connection)
        except (brick_exceptions.BrickException, processutils.ProcessExecutionError) as error:
            raise HostError(f"os-brick cannot list the volume's devices: {error}") from error
        except KeyError:
            found = []  # of Fibre Channel, when it was not this process that connected it
        return [os.path.realpath(path) for path in found if Path(path).exists()]

    @staticmethod
    def address(connection: Properties) -> Properties:
        """The part of the connection info that says where the device is. It holds no secret."""
        return {key: connection[key] for key in _ADDRESS if key in connection}

    @staticmethod
    def ends_with_attachment(connection: Properties) -> bool:
        """Whether it is Cinder that removes the device, when the attachment is deleted."""
        return str(connection["driver_volume_type"]).lower() == "local"

    def _initiator(self, connection: Properties) -> Any:
        return connector.InitiatorConnector.factory(
            str(connection["driver_volume_type"]).upper(),
            self._helper,
            use_multipath=self._group.multipath,
            device_scan_attempts=self._group.device_scan_attempts,
            conn=connection,
            do_local_attach=True,
        )
