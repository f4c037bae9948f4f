"""Which volumes a backup covers, and which it leaves out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from volflow.cloud import ownership
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import (
    CLAIMED,
    RESTORED,
    SAFETY_VOLUME,
    TAG_KEY,
    TEMPORARY,
    Mark,
    kind_of,
    tag_of,
)
from volflow.cloud.volumes import USABLE, Volume, require_usable
from volflow.errors import ResourceNotFoundError, UsageError, VolflowError, VolumeStateError
from volflow.movers.base import StoredBackup
from volflow.plans.filters import Unmatched, several
from volflow.results.outcome import LeftOut


@dataclass(frozen=True)
class Selected:
    """The volumes that a selection covers.

    :ivar left_out: the volumes that were looked at and are not covered, and why
    :ivar groups: ids of the volumes that share a group snapshot, by group id
    :ivar split_groups: groups of which not all volumes are covered, so that each of these volumes
        gets its own snapshot
    :ivar notes: what a person should know about them, one sentence each
    """

    volumes: list[Volume]
    left_out: list[LeftOut] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    split_groups: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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


# Taken as a sequence, each character of a text would be a name.
_ONE_NAME = "'{}' is one name or id; give a list of them."


@dataclass(frozen=True)
class Selection:
    """The volumes that a backup or a restore is requested for.

    Exactly one of the first four attributes says where to look; the others filter.

    :ivar volumes: ids or names; for a restore also ids of backups or their beginnings
    :ivar everything: all volumes of the caller's project
    :ivar all_tenants: all volumes of all projects, for an administrator
    :ivar groups: ids of generic volume groups; Cinder shows consistency groups as such too
    :ivar name: a shell pattern that the name must match, or several of which it must match one
    :ivar metadata: keys and values that the volume's metadata must have; for a key with several
        values, one of them
    :ivar volume_type: name of the volume type, or several names
    :ivar exclude: ids or names of volumes to leave out
    """

    volumes: tuple[str, ...] = ()
    everything: bool = False
    all_tenants: bool = False
    groups: tuple[str, ...] = ()
    name: str | Sequence[str] | None = None
    metadata: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    volume_type: str | Sequence[str] | None = None
    exclude: tuple[str, ...] = ()

    @classmethod
    def of(cls, selection: Selection | Sequence[str]) -> Selection:
        """The selection itself, or one of these ids or names of volumes.

        :raises UsageError: it makes no sense, see :meth:`check`
        """
        if isinstance(selection, str):
            raise UsageError(_ONE_NAME.format(selection))
        found = selection if isinstance(selection, Selection) else cls(volumes=tuple(selection))
        found.check()
        return found

    def check(self) -> None:
        """Make sure that the selection makes sense.

        :raises UsageError: none or several of the places to look are given, a filter is given
            without one that it can filter, or a name or id is empty, which would select more than
            was meant
        """
        for each in (self.volumes, self.groups, self.exclude):
            if isinstance(each, str):
                raise UsageError(_ONE_NAME.format(each))
        values = (*self.volumes, *self.groups, *self.exclude, *self.metadata)
        if not all((*values, *several(self.name), *several(self.volume_type))):
            raise UsageError("An empty name or id selects nothing. Is a variable not set?")
        places = [bool(self.volumes), self.everything, self.all_tenants, bool(self.groups)]
        if sum(places) != 1:
            raise UsageError("Name volumes, or use one of --all, --all-tenants and --group.")
        if self._filtered and not (self.everything or self.all_tenants):
            raise UsageError("Filters work only with --all and --all-tenants.")

    @property
    def covers_project(self) -> bool:
        """Whether it covers all volumes of each project of which it covers any."""
        return (self.everything or self.all_tenants) and not self._filtered

    @property
    def _filtered(self) -> bool:
        return bool(self.name or self.metadata or self.volume_type or self.exclude)

    def find(self, cinder: Cinder) -> Selected:
        """Find the volumes in Cinder.

        :raises UsageError: the selection makes no sense, or names a volume twice, or no volume
            matches one of its filters
        :raises ResourceNotFoundError: a named volume or group does not exist, or no volume at all
            can be backed up
        :raises VolumeStateError: a named volume cannot be snapshotted now
        """
        self.check()
        if self.volumes:
            volumes = _named(cinder, self.volumes)
            return Selected(volumes, notes=_notes_on_marks(cinder, volumes))
        if self.groups:
            return _members(cinder, self.groups)
        return self._filter(cinder, cinder.volumes.list(all_tenants=self.all_tenants))

    def _filter(self, cinder: Cinder, found: Iterable[Volume]) -> Selected:
        volumes: list[Volume] = []
        left_out: list[LeftOut] = []
        notes: list[str] = []
        members: dict[str, list[str]] = {}
        unmatched = self.unmatched()
        for volume in found:
            unmatched.look_at_name(volume["id"], volume["name"] or "")
            unmatched.look_at_properties(volume["volume_type"], volume["metadata"])
            if volume.get("group_id"):
                members.setdefault(volume["group_id"], []).append(volume["id"])
            forged = why_mark_is_foreign(cinder, volume)
            temporary = not forged and kind_of(volume) in (TEMPORARY, SAFETY_VOLUME)
            unwanted = _TEMPORARY if temporary else self.why_unwanted(volume)
            reason = unwanted or _why_unusable(volume, restored=not forged)
            if forged and unwanted is None:
                notes.append(note_on_mark(volume, forged))
            if reason is None:
                volumes.append(volume)
            else:
                left_out.append(
                    LeftOut(volume["id"], volume["name"] or "", reason, unwanted is None)
                )
        unmatched.refuse_names()
        unmatched.refuse_properties()
        if not volumes:
            why = "".join(f"\n{one.name or one.volume_id}: {one.reason}" for one in left_out)
            where = "all projects" if self.all_tenants else "this project"
            raise ResourceNotFoundError(f"There is no volume to back up in {where}.{why}")
        chosen = {volume["id"] for volume in volumes}
        several = {group_id: ids for group_id, ids in members.items() if len(ids) > 1}
        return Selected(
            volumes,
            left_out,
            groups={group: ids for group, ids in several.items() if chosen.issuperset(ids)},
            split_groups=[
                group
                for group, ids in several.items()
                if chosen.intersection(ids) and not chosen.issuperset(ids)
            ],
            notes=[*notes, *unmatched.notes()],
        )

    def why_unwanted(self, volume: Volume) -> str | None:
        """Why the selection does not cover this volume; None if it does."""
        reason = self._why_unnamed(volume["id"], volume["name"] or "")
        if reason:
            return reason
        types = several(self.volume_type)
        if types and volume["volume_type"] not in types:
            return f"its type is '{volume['volume_type']}'"
        for key, value in self.metadata.items():
            if volume["metadata"].get(key) not in several(value):
                return f"its metadata does not have {key}={' or '.join(several(value))}"
        return None

    def why_backup_unwanted(self, backup: StoredBackup) -> str | None:
        """Why the selection does not cover this backup, judged without its manifest."""
        return self._why_unnamed(str(backup.tags.get("volume")), backup.tags.get("name", ""))

    def _why_unnamed(self, volume_id: str, name: str) -> str | None:
        if volume_id in self.exclude or (name and name in self.exclude):
            return "is excluded"
        patterns = several(self.name)
        if patterns and not any(fnmatchcase(name, pattern) for pattern in patterns):
            return f"its name does not match {' or '.join(map(repr, patterns))}"
        return None

    def unmatched(self) -> Unmatched:
        """The filters, to notice those that match nothing."""
        metadata = {key: several(value) for key, value in self.metadata.items()}
        return Unmatched(
            several(self.name), several(self.volume_type), metadata, several(self.exclude)
        )


_TEMPORARY = "is a temporary volume of a volflow run"


def why_mark_is_foreign(cinder: Cinder, volume: Volume) -> str | None:
    """Why what a volume has under volflow's metadata key is not volflow's; None if it is.

    Tenants can write this key, and tools copy it: such a volume is one like any other.
    """
    if tag_of(volume) is None:
        return None
    mark = Mark.of(volume)
    if mark is None:
        return "volflow does not write such a value"
    return ownership.why_not_ours(cinder, volume, mark)


def note_on_mark(volume: Volume, reason: str) -> str:
    return (
        f"Volume {volume['name'] or volume['id']} ({volume['id']}) has the metadata "
        f"{TAG_KEY}={tag_of(volume)}, which is not a mark of volflow: {reason}. volflow treats it "
        "like any other volume."
    )


def _notes_on_marks(cinder: Cinder, volumes: Iterable[Volume]) -> list[str]:
    reasons = [(volume, why_mark_is_foreign(cinder, volume)) for volume in volumes]
    return [note_on_mark(volume, reason) for volume, reason in reasons if reason]


def _why_unusable(volume: Volume, *, restored: bool = True) -> str | None:
    """Why this volume cannot be backed up now; None if it can.

    :param restored: whether to believe a mark that says that a restore writes to it
    """
    if volume["status"] not in USABLE:
        return f"is in state '{volume['status']}'"
    mark = Mark.of(volume)
    if restored and mark and mark.kind in (CLAIMED, RESTORED):
        return (
            f"is being restored by run {mark.run_id} of volflow, and incomplete until that run "
            "ends. If it was interrupted, resume or abort it; if it failed, see 'volflow leftover "
            "list'"
        )
    if volume["encrypted"]:
        return "is encrypted by Cinder, which volflow does not support yet"
    return None


def _require_usable(cinder: Cinder, volume: Volume) -> None:
    require_usable(volume, USABLE)
    reason = _why_unusable(volume, restored=not why_mark_is_foreign(cinder, volume))
    if reason:
        raise VolumeStateError(
            f"Volume {volume['name'] or volume['id']} ({volume['id']}) {reason}."
        )


def _named(cinder: Cinder, names_or_ids: Iterable[str]) -> list[Volume]:
    found = [cinder.volumes.find(name) for name in names_or_ids]
    _refuse_duplicates([volume["id"] for volume in found], "Volume {} is named more than once.")
    for volume in found:
        _require_usable(cinder, volume)
    return found


def _members(cinder: Cinder, group_ids: Iterable[str]) -> Selected:
    """All volumes of these groups."""
    _refuse_duplicates(list(group_ids), "Group {} is named more than once.")
    volumes: list[Volume] = []
    groups: dict[str, list[str]] = {}
    for group_id in group_ids:
        group = cinder.groups.find(group_id)
        members = cinder.volumes.in_group(group["id"])
        if not members:
            raise ResourceNotFoundError(
                f"Group {group['name'] or group_id} ({group_id}) has no volumes."
            )
        for volume in members:
            _require_usable(cinder, volume)
        groups[group_id] = [volume["id"] for volume in members]
        volumes += members
    # A volume can move from one group to another between the two requests.
    _refuse_duplicates([volume["id"] for volume in volumes], "Volume {} is in two groups.")
    return Selected(volumes, groups=groups, notes=_notes_on_marks(cinder, volumes))


def _refuse_duplicates(ids: list[str], message: str) -> None:
    """Refuse an id that comes twice.

    :param message: the error, with {} for the id
    """
    for one, times in Counter(ids).items():
        if times > 1:
            raise UsageError(message.format(one))
