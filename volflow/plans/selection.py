"""Which volumes a run covers, and which it leaves out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from volflow.cloud.cinder import Cinder, require_usable
from volflow.cloud.groups import Groups
from volflow.cloud.marks import CLAIMED, RESTORED, TEMPORARY, Mark, kind_of
from volflow.errors import ResourceNotFoundError, UsageError, VolflowError, VolumeStateError
from volflow.movers.base import StoredBackup
from volflow.results.outcome import LeftOut

Volume = dict[str, Any]

# A snapshot can be taken of these.
USABLE = ("available", "in-use")


@dataclass(frozen=True)
class Selected:
    """The volumes that a selection covers.

    :ivar left_out: the volumes that were looked at and are not covered, and why
    :ivar groups: ids of the volumes that share a group snapshot, by group id
    :ivar split_groups: groups of which not all volumes are covered, so that each of these volumes
        gets its own snapshot
    """

    volumes: list[Volume]
    left_out: list[LeftOut] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    split_groups: list[str] = field(default_factory=list)

    def without(self, troubles: Mapping[str, VolflowError]) -> Selected:
        """Leave out the volumes that cannot be backed up, and keep the others.

        :param troubles: why a volume cannot be backed up, by its id
        :raises VolflowError: no volume remains
        """
        failing = [volume for volume in self.volumes if volume["id"] in troubles]
        volumes = [volume for volume in self.volumes if volume["id"] not in troubles]
        if not volumes:
            # Each message once. The type of the first error decides the exit status.
            errors = {str(troubles[volume["id"]]): troubles[volume["id"]] for volume in failing}
            raise type(next(iter(errors.values())))("\n".join(errors))
        left_out = [
            LeftOut(volume["id"], volume["name"] or "", str(troubles[volume["id"]]), True)
            for volume in failing
        ]
        remaining = {volume["id"] for volume in volumes}
        return replace(
            self,
            volumes=volumes,
            left_out=[*self.left_out, *left_out],
            groups={
                group_id: members
                for group_id, members in self.groups.items()
                if remaining.issuperset(members)
            },
            split_groups=[
                *self.split_groups,
                *(
                    group_id
                    for group_id, members in self.groups.items()
                    if remaining.intersection(members) and not remaining.issuperset(members)
                ),
            ],
        )


@dataclass(frozen=True)
class Selection:
    """What was asked for. Exactly one of the first four says where to look.

    :ivar volumes: ids or names
    :ivar everything: all volumes of the caller's project
    :ivar all_tenants: all volumes of all projects, for an administrator
    :ivar groups: ids of generic volume groups; Cinder has made such of consistency groups
    :ivar name: a shell pattern that the name must match
    :ivar metadata: keys and values that the volume's metadata must have
    :ivar volume_type: name of the type that it must have
    :ivar exclude: ids or names of volumes to leave out
    """

    volumes: tuple[str, ...] = ()
    everything: bool = False
    all_tenants: bool = False
    groups: tuple[str, ...] = ()
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    volume_type: str | None = None
    exclude: tuple[str, ...] = ()

    def check(self) -> None:
        """Make sure that the request makes sense.

        :raises UsageError: none or several of the places to look, a filter without one, or
            something empty, which would select more than was meant
        """
        values = (*self.volumes, *self.groups, *self.exclude, *self.metadata)
        if not all((*values, self.name != "", self.volume_type != "")):
            raise UsageError("An empty name or id selects nothing; was a variable not set?")
        places = [bool(self.volumes), self.everything, self.all_tenants, bool(self.groups)]
        if sum(places) != 1:
            raise UsageError("Name volumes, or say --all, --all-tenants or --group: one of them.")
        if self._filtered and not (self.everything or self.all_tenants):
            raise UsageError("Filters go with --all and --all-tenants.")

    @property
    def covers_project(self) -> bool:
        """Whether it covers all volumes of each project of which it covers any."""
        return (self.everything or self.all_tenants) and not self._filtered

    @property
    def _filtered(self) -> bool:
        return bool(self.name or self.metadata or self.volume_type or self.exclude)

    def find(self, cinder: Cinder) -> Selected:
        """Look the volumes up.

        :raises UsageError: it makes no sense, or a volume comes twice
        :raises ResourceNotFoundError: a volume or group that is named is not there, or there is
            no volume at all that can be backed up
        :raises VolumeStateError: one that is named cannot be snapshotted now
        """
        self.check()
        if self.volumes:
            return Selected(_named(cinder, self.volumes))
        if self.groups:
            return _members(cinder, self.groups)
        return self._sieve(cinder.volumes(all_tenants=self.all_tenants))

    def unwanted_backup(self, backup: StoredBackup) -> str | None:
        """Why nobody wants this backup, as far as can be told without its manifest, if so."""
        return self._unnamed(str(backup.tags.get("volume")), backup.tags.get("name", ""))

    def _sieve(self, found: Iterable[Volume]) -> Selected:
        selected = Selected([])
        members: dict[str, list[str]] = {}
        for volume in found:
            members.setdefault(volume.get("group_id") or "", []).append(volume["id"])
            reason = self.unwanted(volume)
            trouble = None if reason else _unusable(volume)
            if reason or trouble:
                selected.left_out.append(
                    LeftOut(
                        volume["id"], volume["name"] or "", reason or trouble or "", reason is None
                    )
                )
            else:
                selected.volumes.append(volume)
        if not selected.volumes:
            why = "".join(f"\n{o.name or o.volume_id}: {o.reason}" for o in selected.left_out)
            where = "all projects" if self.all_tenants else "this project"
            raise ResourceNotFoundError(f"There is no volume to back up in {where}.{why}")
        _keep_together(selected, members)
        return selected

    def unwanted(self, volume: Volume) -> str | None:
        """Why nobody wants this volume, if so."""
        name, metadata = volume["name"] or "", volume["metadata"]
        if kind_of(volume) == TEMPORARY:
            return "is temporary, of a run of volflow"
        reason = self._unnamed(volume["id"], name)
        if reason:
            return reason
        if self.volume_type and volume["volume_type"] != self.volume_type:
            return f"its type is '{volume['volume_type']}'"
        for key, value in self.metadata.items():
            if metadata.get(key) != value:
                return f"its metadata does not have {key}={value}"
        return None

    def _unnamed(self, volume_id: str, name: str) -> str | None:
        if volume_id in self.exclude or (name and name in self.exclude):
            return "is excluded"
        if self.name and not fnmatchcase(name, self.name):
            return f"its name does not match '{self.name}'"
        return None


def _keep_together(selected: Selected, members: Mapping[str, list[str]]) -> None:
    """Have the volumes of a group share a snapshot where all of them are selected.

    :param members: all volumes of each group; those of none under the empty id
    """
    chosen = {volume["id"] for volume in selected.volumes}
    for group_id, ids in members.items():
        if group_id and len(ids) > 1:
            if chosen.issuperset(ids):
                selected.groups[group_id] = ids
            elif chosen.intersection(ids):
                selected.split_groups.append(group_id)


def project_of(volume: Volume) -> str:
    """The project that a volume is in; empty where the API does not say."""
    return str(volume.get("os-vol-tenant-attr:tenant_id") or "")


def _unusable(volume: Volume) -> str | None:
    """Why this volume cannot be backed up now, if so."""
    if volume["status"] not in USABLE:
        return f"is in state '{volume['status']}'"
    mark = Mark.of(volume)
    if mark and mark.kind in (CLAIMED, RESTORED):
        return (
            f"is being restored by run {mark.run_id} of volflow, and not whole before that has "
            "ended. If it was interrupted, resume or abort it; if it failed, see 'volflow leftover "
            "list'"
        )
    if volume["encrypted"]:
        return "is encrypted by Cinder, which volflow cannot take yet"
    return None


def _require(volume: Volume) -> None:
    require_usable(volume, USABLE)
    trouble = _unusable(volume)
    if trouble:
        raise VolumeStateError(
            f"Volume {volume['name'] or volume['id']} ({volume['id']}) {trouble}."
        )


def _named(cinder: Cinder, names_or_ids: Iterable[str]) -> list[Volume]:
    found = [cinder.find_volume(name) for name in names_or_ids]
    _no_doubles([volume["id"] for volume in found], "Volume {} is named more than once.")
    for volume in found:
        _require(volume)
    return found


def _members(cinder: Cinder, group_ids: Iterable[str]) -> Selected:
    _no_doubles(list(group_ids), "Group {} is named more than once.")
    selected = Selected([])
    for group_id in group_ids:
        group = Groups(cinder).get(group_id)
        members = cinder.group_volumes(group["id"])
        if not members:
            raise ResourceNotFoundError(
                f"Group {group['name'] or group_id} ({group_id}) holds no volume."
            )
        for volume in members:
            _require(volume)
        selected.groups[group_id] = [volume["id"] for volume in members]
        selected.volumes.extend(members)
    # Possible where one has moved from one group to the other between two looks.
    _no_doubles([volume["id"] for volume in selected.volumes], "Volume {} is in two groups.")
    return selected


def _no_doubles(ids: list[str], message: str) -> None:
    for one, times in Counter(ids).items():
        if times > 1:
            raise UsageError(message.format(one))
