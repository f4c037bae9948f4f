"""What a run was asked to do: plain data that the state database stores with the run.

The keys are those of release 0.1.0, so that this release can resume its runs and that release can
show ours. Nothing else reads or writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

from persistence import Run
from volflow.errors import UsageError
from volflow.results.options import RestoreOptions
from volflow.results.outcome import LeftOut

# A run cannot be driven without these keys. A page or a listing needs none.
_NEEDED = ("repository", "parallel", "projects", "act_in")


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What backups and restores have in common.

    :ivar repository: name of the repository, without secrets
    :ivar login: the login under which the run began, see :class:`volflow.cloud.login.Login`;
        empty if it is not known
    :ivar parallel: maximum number of volumes in parallel; 0 if it is not known
    :ivar projects: project ids by volume
    :ivar act_in: ``tenant`` to make temporary resources in the project of each volume, or
        ``caller`` to make them in the project of the login
    :ivar groups: volumes by the group whose snapshot or membership they share
    :ivar left_out: what was selected and is not covered, and why
    """

    kind: ClassVar[str]

    repository: str = ""
    login: Mapping[str, Any] = field(default_factory=dict)
    parallel: int = 0
    projects: Mapping[str, str | None] = field(default_factory=dict)
    act_in: str = ""
    groups: Mapping[str, list[str]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()

    def project_of(self, key: str) -> str | None:
        """The project of a volume, or of the volumes of a group."""
        members = self.groups.get(key)
        return self.projects.get(members[0] if members else key)

    @classmethod
    def _common(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        names = ("repository", "login", "parallel", "projects", "act_in", "groups")
        found = {name: values[name] for name in names if name in values}
        return found | {"left_out": tuple(LeftOut(**one) for one in values.get("left_out", ()))}


@dataclass(frozen=True, kw_only=True)
class BackupRequest(_Request):
    """What a backup run was asked to do.

    :ivar full: read every file, instead of those that changed since the last backup
    :ivar consistent: whether the volumes of each group are snapshotted at one moment; None if
        that is not known
    :ivar volumes_in_project: the number of volumes in each project that have a backup afterwards,
        where the run covers all volumes of the project
    :ivar notes: what a person should know about the run, one sentence each
    :ivar sizes: the size of each volume in GiB; empty if it is not known
    :ivar by_filter: whether the volumes were found, not named: then one that is deleted before its
        backup begins is left out, and is no failure
    :ivar image: store each volume as one image, whatever is on it
    """

    kind = "backup"

    full: bool = False
    consistent: Mapping[str, bool | None] = field(default_factory=dict)
    volumes_in_project: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    by_filter: bool = False
    image: bool = False

    def size_of(self, volume_id: str) -> int | None:
        """The size of what the run makes of a volume, in GiB; None if it is not known."""
        return self.sizes.get(volume_id)

    def to_dict(self) -> dict[str, Any]:
        """The request as it is stored."""
        return {
            "full": self.full,
            "parallel": self.parallel,
            "groups": dict(self.groups),
            "consistent": dict(self.consistent),
            "whole": dict(self.volumes_in_project),
            "left_out": [asdict(one) for one in self.left_out],
            "projects": dict(self.projects),
            "act_in": self.act_in,
            "repository": self.repository,
            "login": dict(self.login),
            **({"sizes": dict(self.sizes)} if self.sizes else {}),
            **({"by_filter": True} if self.by_filter else {}),
            **({"image": True} if self.image else {}),
        } | ({"notes": list(self.notes)} if self.notes else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The stored request; missing keys get their defaults."""
        return cls(
            **cls._common(values),
            full=values.get("full", False),
            consistent=values.get("consistent", {}),
            volumes_in_project=values.get("whole", {}),
            notes=tuple(values.get("notes", ())),
            sizes=values.get("sizes", {}),
            by_filter=values.get("by_filter", False),
            image=values.get("image", False),
        )


@dataclass(frozen=True)
class RequestedTarget:
    """Where one backup goes: what a run stores of :class:`volflow.plans.restore.RestoreTarget`.

    :ivar created_at: when the backup was made, in ISO 8601
    :ivar tags: the tags of the backup
    :ivar destination: a value of ``Destination``: ``new``, ``in place`` or ``copy``
    :ivar existing: the volume that exists: the one to overwrite, to copy, or to replace
    :ivar in_the_way: why the replaced volume could not be removed when the restore was planned
    :ivar joins: a value of ``Joining``: ``existing`` or ``anew``; None if it joins no group
    """

    backup_id: str
    created_at: str
    tags: Mapping[str, str]
    destination: str
    existing: Mapping[str, Any] | None = None
    in_the_way: str | None = None
    joins: str | None = None

    @property
    def overwritten(self) -> str | None:
        """Id of the volume that the restore overwrites, if any."""
        return str(self.existing["id"]) if self.existing and self._in_place else None

    @property
    def replaced(self) -> Mapping[str, Any] | None:
        """The old volume that still exists beside the restored one, if any."""
        return None if self._in_place else self.existing

    @property
    def _in_place(self) -> bool:
        return self.destination == "in place"

    def to_dict(self) -> dict[str, Any]:
        """The target as it is stored."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The stored target; unknown keys of another release are ignored."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})


@dataclass(frozen=True, kw_only=True)
class RestoreRequest(_Request):
    """What a restore run was asked to do.

    :ivar notes: what a person should know about the run, one sentence each
    :ivar backups: ids of the backups, by volume
    :ivar targets: where each backup goes, by volume
    """

    kind = "restore"

    options: RestoreOptions = field(default_factory=RestoreOptions)
    notes: tuple[str, ...] = ()
    backups: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, RequestedTarget] = field(default_factory=dict)

    def size_of(self, volume_id: str) -> int | None:
        """The size of what the run makes of a volume, in GiB; None if it is not known."""
        target = self.targets.get(volume_id)
        if target is None:
            return None
        volume = target.existing if target.destination != "new" else None
        size = str((volume or target.tags).get("size", ""))
        return int(size) if size.isdecimal() else None

    @property
    def consistent(self) -> Mapping[str, bool | None]:
        """A restore makes no snapshots of groups."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """The request as it is stored."""
        return {
            "groups": dict(self.groups),
            "left_out": [asdict(one) for one in self.left_out],
            "notes": list(self.notes),
            "parallel": self.parallel,
            "options": self.options.to_dict(),
            "backups": dict(self.backups),
            "targets": {key: target.to_dict() for key, target in self.targets.items()},
            "projects": dict(self.projects),
            "act_in": self.act_in,
            "repository": self.repository,
            "login": dict(self.login),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The stored request; missing keys get their defaults."""
        targets = values.get("targets", {})
        return cls(
            **cls._common(values),
            options=RestoreOptions.from_dict(values.get("options", {})),
            notes=tuple(values.get("notes", ())),
            backups=values.get("backups", {}),
            targets={key: RequestedTarget.from_dict(targets[key]) for key in targets},
        )


Request = BackupRequest | RestoreRequest


def request_of(run: Run) -> Request:
    """The request of a run, for display. Values that are not stored get their defaults."""
    if run.kind == RestoreRequest.kind:
        return RestoreRequest.from_dict(run.request)
    return BackupRequest.from_dict(run.request)


def complete_request(run: Run) -> Request:
    """The request of a run, to drive the run.

    :raises UsageError: another release stored it, without a key that this release needs, or with an
        option that this release does not know
    """
    needed = [*_NEEDED, *(["targets"] if run.kind == RestoreRequest.kind else [])]
    missing = [key for key in needed if key not in run.request]
    if missing:
        raise UsageError(
            f"Another release of volflow began run {run.id}: its request does not contain "
            f"{' and '.join(map(repr, missing))}. Resume or abort it with that release."
        )
    unknown = RestoreOptions.unknown(run.request.get("options", {}))
    if unknown:
        raise UsageError(
            f"Another release of volflow began run {run.id}: this one does not know its options "
            f"{' and '.join(sorted(unknown))}. Resume or abort it with that release."
        )
    return request_of(run)
