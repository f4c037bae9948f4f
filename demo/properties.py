"""What Cinder knows of a volume, to compare it with another one."""

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

# Cinder shows these among the metadata; they tell how a volume is attached, not what it is.
_OF_THE_ATTACHMENT = ("attached_mode", "readonly")

Properties = dict[str, Any]


def read(cinder: Any, volume_id: str) -> Properties:
    """The properties of a volume that a restore has to bring back."""
    volume = cinder.volumes.get(volume_id).to_dict()
    found = {field: volume.get(field) for field in _FIELDS}
    found["metadata"] = {
        key: value for key, value in volume["metadata"].items() if key not in _OF_THE_ATTACHMENT
    }
    return found


def differences(expected: Properties, found: Properties) -> list[str]:
    """What is not the same, a line each; empty if all is."""
    return [
        f"{field} was {expected[field]!r}, is {found[field]!r}"
        for field in _FIELDS
        if expected[field] != found[field]
    ]
