"""The properties of a volume: which can be given back to it, and which cannot and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import ALIVE_KEY, TAG_KEY
from volflow.cloud.volumes import Volume
from volflow.errors import CloudError, UsageError

# Cinder shows these among a volume's metadata, and takes them only by actions of their own.
_NOT_METADATA = ("readonly", "attached_mode", TAG_KEY, ALIVE_KEY)

# What --meta-override takes, and the type of each.
_SETTABLE: dict[str, type] = {
    "name": str,
    "description": str,
    "metadata": dict,
    "bootable": bool,
    "image_metadata": dict,
    "readonly": bool,
}

_VALUES = {str: "a text", dict: "a JSON object", bool: "true or false"}
# Characters of a name, a description, a key or a value.
_LONGEST = 255

# What stands for a property that this user may not see.
NOT_VISIBLE = "not visible to this user"

# What cannot be given back to a volume by its owner, and why.
_FIXED = {
    "size": "it is the volume's own",
    "volume_type": "it is given when a volume is made; 'openstack volume set --type' changes it",
    "availability_zone": "it is given when a volume is made",
    "multiattach": "it comes by the volume type",
    "encrypted": "it comes by the volume type",
    # A consistency group of old is shown as the group of a volume too.
    "group_id": "only new volumes are put into their group, and with --group or --meta-override "
    "those that are there",
    "replication_status": "it comes by the volume type and the storage",
    "attachments": "servers attach their volumes themselves",
    "user_id": "it is who made the volume",
    "os-vol-tenant-attr:tenant_id": "it is the project in which the volume was made",
}


@dataclass(frozen=True)
class Difference:
    """A property that is not what it was.

    :ivar was: its value in the backup
    :ivar now: its value in the cloud
    :ivar why: why it was not brought back
    """

    name: str
    was: Any
    now: Any
    why: str


@dataclass(frozen=True)
class Properties:
    """The properties that can be given to a volume after it was made."""

    name: str
    description: str
    metadata: Mapping[str, str]
    bootable: bool
    image_metadata: Mapping[str, str]
    readonly: bool

    @classmethod
    def of(cls, volume: Volume, overrides: Mapping[str, Any] | None = None) -> Properties:
        """Those of a volume as the API shows it, some of them overridden."""
        found: dict[str, Any] = {
            "name": volume["name"] or "",
            "description": volume["description"] or "",
            "metadata": own_metadata(volume),
            "bootable": str(volume["bootable"]).lower() == "true",
            "image_metadata": dict(volume.get("volume_image_metadata") or {}),
            "readonly": str(volume["metadata"].get("readonly", "")).lower() == "true",
        }
        return cls(**found | dict(overrides or {}))

    def apply(self, cinder: Cinder, volume_id: str) -> dict[str, str]:
        """Give them to a volume, as far as Cinder takes them. May be done twice.

        :returns: why a property was not taken, by its name
        :raises CloudError: the volume cannot be looked at
        """
        now = Properties.of(cinder.volumes.get(volume_id))
        refused: dict[str, str] = {}

        @contextmanager
        def giving(name: str) -> Iterator[None]:
            try:
                yield
            except CloudError as error:
                refused[name] = str(error)

        if now.readonly and not self.readonly:
            with giving("readonly"):
                cinder.volumes.set_readonly(volume_id, False)
        for name in ("name", "description"):
            if getattr(now, name) != getattr(self, name):
                with giving(name):
                    cinder.volumes.update(volume_id, **{name: getattr(self, name)})
        with giving("metadata"):
            if superfluous := now.metadata.keys() - self.metadata.keys():
                cinder.volumes.delete_metadata(volume_id, superfluous)
            _each(
                partial(cinder.volumes.set_metadata, volume_id), _new(now.metadata, self.metadata)
            )
        if now.bootable != self.bootable:
            with giving("bootable"):
                cinder.volumes.set_bootable(volume_id, self.bootable)
        with giving("image_metadata"):
            if surplus := now.image_metadata.keys() - self.image_metadata.keys():
                cinder.volumes.delete_image_metadata(volume_id, surplus)
            images = _new(now.image_metadata, self.image_metadata)
            _each(partial(cinder.volumes.set_image_metadata, volume_id), images)
        # Last, for a volume that is read-only takes no more changes by its guests.
        if self.readonly and not now.readonly:
            with giving("readonly"):
                cinder.volumes.set_readonly(volume_id, True)
        return refused


def _new(now: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if now.get(key) != value}


def _each(give: Callable[[Mapping[str, str]], None], pairs: Mapping[str, str]) -> None:
    """Give pairs of key and value, without those that are not taken.

    :raises CloudError: which are not, and why
    """
    if not pairs:
        return
    try:
        give(pairs)
    except CloudError:
        # One of them can be what is wrong.
        troubles = []
        for key, value in pairs.items():
            try:
                give({key: value})
            except CloudError as error:
                troubles.append(f"'{key}': {error}")
        if troubles:
            raise CloudError(" ".join(troubles)) from None


def own_metadata(volume: Volume) -> dict[str, str]:
    """A volume's metadata without what is volflow's or Cinder's."""
    return {k: v for k, v in volume["metadata"].items() if k not in _NOT_METADATA}


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Make sure that these properties can be set.

    :raises UsageError: one is unknown, or of the wrong type, or not the owner's to set
    """
    for name, value in overrides.items():
        if name not in _SETTABLE:
            raise UsageError(
                f"'{name}' is no property that can be overridden; these are: "
                f"{', '.join(_SETTABLE)}."
            )
        if not isinstance(value, _SETTABLE[name]):
            raise UsageError(
                f"The property '{name}' takes {_VALUES[_SETTABLE[name]]}, not {value!r}."
            )
        if isinstance(value, dict):
            _check_pairs(name, value)
        elif isinstance(value, str) and len(value) > _LONGEST:
            raise UsageError(f"The property '{name}' takes {_LONGEST} characters at most.")


def _check_pairs(name: str, pairs: Mapping[str, Any]) -> None:
    for key, value in pairs.items():
        if not isinstance(value, str):
            raise UsageError(f"The values in '{name}' are texts; '{key}' has {value!r}.")
        if not 1 <= len(key) <= _LONGEST or len(value) > _LONGEST:
            raise UsageError(f"The keys and values in '{name}' have {_LONGEST} characters at most.")
        if name == "metadata" and key in _NOT_METADATA:
            raise UsageError(f"The metadata key '{key}' is not one that can be set.")


def differences(
    was: Volume,
    now: Volume,
    *,
    qos: tuple[str | None, str | None] = (None, None),
    applied: bool,
    refused: Mapping[str, str] | None = None,
) -> list[Difference]:
    """What a restored volume has not got back.

    :param was: the volume in the backup
    :param now: the restored volume
    :param qos: the QoS specification of the type in the backup, and of the type that it has now;
        :data:`NOT_VISIBLE` where this user may not see it
    :param applied: whether the backup's properties were to be given to it
    :param refused: why a property was not taken by Cinder, by its name
    """
    found = [
        Difference(name, was[name], now.get(name), why)
        for name, why in _FIXED.items()
        # What the API did not show at the backup is not known.
        if name in was and (was[name] or None) != (now.get(name) or None)
    ]
    refused = refused or {}
    before, after = Properties.of(was), Properties.of(now)
    for name in _SETTABLE:
        if name in refused or getattr(before, name) != getattr(after, name):
            why = "it was overridden" if applied else "--meta-override was not given"
            why = refused.get(name, why)
            found.append(Difference(name, getattr(before, name), getattr(after, name), why))
    if NOT_VISIBLE in qos:
        found.append(Difference("qos_specs_id", *qos, "administrators alone see it"))
    elif qos[0] != qos[1]:
        found.append(Difference("qos_specs_id", *qos, "it comes by the volume type"))
    return found
