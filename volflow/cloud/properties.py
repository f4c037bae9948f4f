"""The properties of a volume: those that a restore can set, and why it cannot set the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import ALIVE_KEY, ID_KEY, TAG_KEY
from volflow.cloud.patience import impatient
from volflow.cloud.volumes import Volume
from volflow.errors import CloudError, UnavailableError, UsageError
from volflow.printable import bounded

# Cinder shows these in a volume's metadata, but they are set in other ways.
_NOT_METADATA = ("readonly", "attached_mode", TAG_KEY, ALIVE_KEY, ID_KEY)

# The properties that --meta-override accepts, with their types.
_SETTABLE: dict[str, type] = {
    "name": str,
    "description": str,
    "metadata": dict,
    "bootable": bool,
    "image_metadata": dict,
    "readonly": bool,
}

_VALUES = {str: "a string", dict: "a JSON object", bool: "true or false"}
# Maximum number of characters in a name, a description, a key or a value.
_LONGEST = 255

# Placeholder for a property that this user may not see.
NOT_VISIBLE = "not visible to this user"

# The properties that the owner of a volume cannot set, and why.
_FIXED = {
    "size": "the volume keeps its own size",
    "volume_type": "it is set when a volume is created; 'openstack volume set --type' changes it",
    "availability_zone": "it is set when a volume is created",
    "multiattach": "it comes with the volume type",
    "encrypted": "it comes with the volume type",
    # Cinder also shows the consistency group of an older release as the group of a volume.
    "group_id": "only new volumes join their group; existing ones join it with --group or "
    "--meta-override",
    "replication_status": "it comes with the volume type and the storage",
    "attachments": "servers attach their volumes themselves",
    "user_id": "it is the user who created the volume",
    "os-vol-tenant-attr:tenant_id": "it is the project in which the volume was created",
}


@dataclass(frozen=True)
class Difference:
    """A property that differs from the backup.

    :ivar was: its value in the backup
    :ivar now: its value in the cloud
    :ivar why: why it was not restored
    """

    name: str
    was: Any
    now: Any
    why: str


@dataclass(frozen=True)
class Properties:
    """The properties that can be set on an existing volume."""

    name: str
    description: str
    metadata: Mapping[str, str]
    bootable: bool
    image_metadata: Mapping[str, str]
    readonly: bool

    @classmethod
    def of(cls, volume: Volume, overrides: Mapping[str, Any] | None = None) -> Properties:
        """The properties of a volume as the API shows it, with some of them overridden."""
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
        """Set them on a volume, as far as Cinder accepts them. It is no error to do it twice.

        :returns: the reasons why properties were refused, by their names
        :raises CloudError: the volume cannot be read
        """
        now = Properties.of(cinder.volumes.get(volume_id))
        refused: dict[str, str] = {}

        @contextmanager
        def setting(name: str) -> Iterator[None]:
            try:
                yield
            except CloudError as error:
                refused[name] = bounded(str(error))

        if now.readonly and not self.readonly:
            with setting("readonly"):
                cinder.volumes.set_readonly(volume_id, False)
        for name in ("name", "description"):
            if getattr(now, name) != getattr(self, name):
                with setting(name):
                    cinder.volumes.update(volume_id, **{name: getattr(self, name)})
        with setting("metadata"):
            if superfluous := now.metadata.keys() - self.metadata.keys():
                cinder.volumes.delete_metadata(volume_id, superfluous)
            _each(
                partial(cinder.volumes.set_metadata, volume_id), _new(now.metadata, self.metadata)
            )
        if now.bootable != self.bootable:
            with setting("bootable"):
                cinder.volumes.set_bootable(volume_id, self.bootable)
        with setting("image_metadata"):
            if surplus := now.image_metadata.keys() - self.image_metadata.keys():
                cinder.volumes.delete_image_metadata(volume_id, surplus)
            images = _new(now.image_metadata, self.image_metadata)
            _each(partial(cinder.volumes.set_image_metadata, volume_id), images)
        # Last: on a read-only volume the earlier changes might be refused.
        if self.readonly and not now.readonly:
            with setting("readonly"):
                cinder.volumes.set_readonly(volume_id, True)
        return refused


def _new(now: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if now.get(key) != value}


def _each(set_pairs: Callable[[Mapping[str, str]], None], pairs: Mapping[str, str]) -> None:
    """Set pairs of key and value, except those that Cinder refuses.

    :raises CloudError: the pairs that were refused, and why
    """
    if not pairs:
        return
    try:
        set_pairs(pairs)
    except CloudError as failure:
        # Perhaps Cinder refuses only one of them.
        refused = []
        with impatient() if isinstance(failure, UnavailableError) else nullcontext():
            for key, value in pairs.items():
                try:
                    set_pairs({key: value})
                except CloudError as error:
                    refused.append(f"'{key}': {error}")
        if refused:
            raise CloudError(" ".join(refused)) from None


def own_metadata(volume: Volume) -> dict[str, str]:
    """A volume's metadata without the keys of volflow and Cinder."""
    return {k: v for k, v in volume["metadata"].items() if k not in _NOT_METADATA}


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Make sure that these properties can be set.

    :raises UsageError: one is unknown, or of the wrong type, or not the owner's to set
    """
    for name, value in overrides.items():
        if name not in _SETTABLE:
            raise UsageError(
                f"'{name}' is not a property that can be overridden; these are: "
                f"{', '.join(_SETTABLE)}."
            )
        if not isinstance(value, _SETTABLE[name]):
            raise UsageError(
                f"The property '{name}' takes {_VALUES[_SETTABLE[name]]}, not {value!r}."
            )
        if isinstance(value, dict):
            _check_pairs(name, value)
        elif isinstance(value, str) and len(value) > _LONGEST:
            raise UsageError(f"The property '{name}' takes at most {_LONGEST} characters.")


def _check_pairs(name: str, pairs: Mapping[str, Any]) -> None:
    for key, value in pairs.items():
        if not isinstance(value, str):
            raise UsageError(f"The values in '{name}' must be strings; '{key}' has {value!r}.")
        if not 1 <= len(key) <= _LONGEST or len(value) > _LONGEST:
            raise UsageError(f"The keys and values in '{name}' have at most {_LONGEST} characters.")
        if name == "metadata" and key in _NOT_METADATA:
            raise UsageError(f"The metadata key '{key}' cannot be set.")


def differences(
    was: Volume,
    now: Volume,
    *,
    qos: tuple[str | None, str | None] = (None, None),
    applied: bool,
    refused: Mapping[str, str] | None = None,
) -> list[Difference]:
    """The properties in which a restored volume differs from the backup.

    :param was: the volume in the backup
    :param now: the restored volume
    :param qos: the QoS specifications of the type in the backup and of its type now;
        :data:`NOT_VISIBLE` where this user may not see it
    :param applied: whether the backup's properties should have been set
    :param refused: why Cinder refused a property, by its name
    """
    found = [
        Difference(name, was[name], now.get(name), why)
        for name, why in _FIXED.items()
        # What the API did not show at the time of the backup is unknown.
        if name in was and (was[name] or None) != (now.get(name) or None)
    ]
    refused = refused or {}
    before, after = Properties.of(was), Properties.of(now)
    for name in _SETTABLE:
        if name in refused or getattr(before, name) != getattr(after, name):
            why = "it was overridden" if applied else "--meta-override was not given"
            why = refused.get(name, why)
            found.append(Difference(name, getattr(before, name), getattr(after, name), why))
    if qos[0] == qos[1]:
        # What is invisible now as it was then is no difference that anybody could tell.
        pass
    elif NOT_VISIBLE in qos:
        found.append(Difference("qos_specs_id", *qos, "only administrators see it"))
    else:
        found.append(Difference("qos_specs_id", *qos, "it comes with the volume type"))
    return found
