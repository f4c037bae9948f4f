"""The properties of a volume in Cinder, to compare them with those of another one."""

from __future__ import annotations

from typing import Any

_FIELDS = (
    "name",
    "description",
    "size",
    "volume_type",
    "availability_zone",
    "bootable",
    "multiattach",
    "encrypted",
    "metadata",
    "volume_image_metadata",
)

# Cinder shows these in the metadata; they describe an attachment, not the volume.
_OF_THE_ATTACHMENT = ("attached_mode", "readonly")

Properties = dict[str, Any]


def read(cinder: Any, volume_id: str) -> Properties:
    """The properties of a volume that a restore must restore."""
    volume = cinder.volumes.get(volume_id).to_dict()
    found = {field: volume.get(field) for field in _FIELDS}
    found["metadata"] = {
        key: value for key, value in volume["metadata"].items() if key not in _OF_THE_ATTACHMENT
    }
    return found


def differences(expected: Properties, found: Properties) -> list[str]:
    """The differences, one line each; empty if there are none."""
    return [
        f"{field} was {expected[field]!r}, is {found[field]!r}"
        for field in _FIELDS
        if expected[field] != found[field]
    ]
