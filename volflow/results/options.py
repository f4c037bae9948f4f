"""The options of a restore, as plain data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import InitVar, asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

# The names under which the state database stores an option, where they differ. Release 0.1.0 called
# ``keep_extra`` like this.
_STORED = {"keep_extra": "keep_newer"}
# Options that release 0.1.0 does not know. They are stored only if they are used, so that it can
# continue the other restores.
_ADDED = ("overwrite", "name", "allow_partial")


class Overwrite(StrEnum):
    """Which files of an existing volume a restore replaces with those of the backup."""

    #: All of them.
    ALWAYS = "always"
    #: All but those whose modification time is later than in the backup.
    IF_NEWER = "if-newer"
    #: None: only what is missing is restored.
    NEVER = "never"


@dataclass(frozen=True)
class RestoreOptions:
    """How to restore. :func:`volflow.plans.restore_options.check_options` validates it.

    :ivar new: create a new volume even if the old one exists
    :ivar into: id or name of the existing volume to restore into
    :ivar recreate_vol_on_error: restore an attached volume into a copy of it
    :ivar keep_extra: keep files of an existing volume that the backup does not have
    :ivar grow: extend the file system if the target is larger than the old volume
    :ivar verify: compare the restored files with the backup; ``remove_old_vol`` always does
    :ivar meta_override: give an existing volume the properties of the backup, with these
        changes; None leaves its properties alone
    :ivar type_map: volume types of the backups to volume types of this cloud
    :ivar az_map: availability zones of the backups to availability zones of this cloud
    :ivar project_map: ids of the backups' projects to ids of the projects to restore to
    :ivar remove_old_vol: once everything is verified, remove the volumes that new ones replace
    :ivar overwrite: which files of an existing volume to replace with those of the backup
    :ivar name: the name of the new volume; that of the backup by default
    :ivar allow_partial: restore the last backup of a volume even if it is partial; by default the
        last complete one, if there is any
    :param keep_newer: the former name of ``keep_extra``
    """

    new: bool = False
    into: str | None = None
    recreate_vol_on_error: bool = False
    keep_extra: bool = False
    grow: bool = False
    verify: bool = False
    meta_override: Mapping[str, Any] | None = None
    type_map: Mapping[str, str] = field(default_factory=dict)
    az_map: Mapping[str, str] = field(default_factory=dict)
    project_map: Mapping[str, str] = field(default_factory=dict)
    remove_old_vol: bool = False
    overwrite: Overwrite = Overwrite.ALWAYS
    name: str | None = None
    allow_partial: bool = False
    keep_newer: InitVar[bool | None] = None

    def __post_init__(self, keep_newer: bool | None) -> None:
        object.__setattr__(self, "overwrite", Overwrite(self.overwrite))
        if keep_newer is not None:
            warnings.warn("keep_newer is now keep_extra", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "keep_extra", keep_newer)

    @property
    def merges(self) -> bool:
        """Whether something on an existing volume stays, so that its file system must stay too."""
        return self.keep_extra or self.overwrite is not Overwrite.ALWAYS

    @property
    def overrides(self) -> Mapping[str, Any]:
        """The properties of a new volume that are not those of the backup."""
        named = {} if self.name is None else {"name": self.name}
        return {**(self.meta_override or {}), **named}

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
        """The options as they are stored."""
        blank = type(self)()
        return {
            _STORED.get(name, name): value
            for name, value in asdict(self).items()
            if name not in _ADDED or value != getattr(blank, name)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The stored options."""
        return cls(**{name: values[key] for name, key in _stored_names() if key in values})

    @staticmethod
    def unknown(values: Mapping[str, Any]) -> set[str]:
        """The names of stored options that this release does not know."""
        return values.keys() - {key for _, key in _stored_names()}


def _stored_names() -> list[tuple[str, str]]:
    """The name of each option, and the name under which it is stored."""
    return [(one.name, _STORED.get(one.name, one.name)) for one in fields(RestoreOptions)]
