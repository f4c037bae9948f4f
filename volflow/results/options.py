"""The options of a restore, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class RestoreOptions:
    """How to restore. :func:`volflow.plans.restore_options.check_options` validates it.

    :ivar new: create a new volume even if the old one exists
    :ivar into: id or name of the existing volume to restore into
    :ivar recreate_vol_on_error: restore an attached volume into a copy of it
    :ivar keep_newer: keep files of the target that the backup does not have
    :ivar grow: extend the file system if the target is larger than the old volume
    :ivar verify: compare the restored files with the backup; ``remove_old_vol`` always does
    :ivar meta_override: give an existing volume the properties of the backup, with these
        changes; None leaves its properties alone
    :ivar type_map: volume types of the backups to volume types of this cloud
    :ivar az_map: availability zones of the backups to availability zones of this cloud
    :ivar project_map: ids of the backups' projects to ids of the projects to restore to
    :ivar remove_old_vol: once everything is verified, remove the volumes that new ones replace
    """

    new: bool = False
    into: str | None = None
    recreate_vol_on_error: bool = False
    keep_newer: bool = False
    grow: bool = False
    verify: bool = False
    meta_override: Mapping[str, Any] | None = None
    type_map: Mapping[str, str] = field(default_factory=dict)
    az_map: Mapping[str, str] = field(default_factory=dict)
    project_map: Mapping[str, str] = field(default_factory=dict)
    remove_old_vol: bool = False

    @property
    def verified(self) -> bool:
        """Whether the restored files are compared with the backup."""
        return self.verify or self.remove_old_vol

    def source_projects(self, project_id: str | None) -> set[str]:
        """The source projects of the volumes that are restored to this project."""
        mapped = {old for old, new in self.project_map.items() if new == project_id}
        return mapped or {str(project_id)}

    def target_project(self, project_id: str | None) -> str | None:
        """The project to which the volumes of this project are restored: itself by default."""
        return self.project_map.get(project_id, project_id) if project_id else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)
