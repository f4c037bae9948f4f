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

# A run cannot be driven without these. A page or a listing can do without any key.
_NEEDED = ("repository", "parallel", "projects", "act_in")


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What backups and restores have in common.

    :ivar repository: name of the repository, without secrets
    :ivar login: the login under which the run began, see :class:`volflow.cloud.login.Login`;
        empty where it is not known
    :ivar parallel: number of volumes in flight at most; 0 where it is not known
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
    :ivar consistent: whether the volumes of each group are snapshotted at one moment; None where
        that is not known
    :ivar volumes_in_project: the number of volumes in each project that have a backup afterwards,
        where the run covers all volumes of the project
    """

    kind = "backup"

    full: bool = False
    consistent: Mapping[str, bool | None] = field(default_factory=dict)
    volumes_in_project: Mapping[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """A backup has none."""
        return ()

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
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The request that was stored; what it does not name has its default."""
        return cls(
            **cls._common(values),
            full=values.get("full", False),
            consistent=values.get("consistent", {}),
            volumes_in_project=values.get("whole", {}),
        )


@dataclass(frozen=True)
class RequestedTarget:
    """Where one backup goes: what a run stores of :class:`volflow.plans.restore.RestoreTarget`.

    :ivar created_at: when the backup was made, in ISO 8601
    :ivar tags: the tags of the backup
    :ivar destination: a value of ``Destination``: ``new``, ``in place`` or ``copy``
    :ivar existing: the volume that exists: the one to overwrite, to copy, or to replace
    :ivar in_the_way: why the replaced volume could not be removed when the restore was planned
    :ivar joins: a value of ``Joining``: ``existing`` or ``anew``; None where it joins no group
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
        """Id of the volume whose content is lost, if there is one."""
        return str(self.existing["id"]) if self.existing and self._in_place else None

    @property
    def replaced(self) -> Mapping[str, Any] | None:
        """The volume that stands beside the restored one afterwards, if there is one."""
        return None if self._in_place else self.existing

    @property
    def _in_place(self) -> bool:
        return self.destination == "in place"

    def to_dict(self) -> dict[str, Any]:
        """The target as it is stored."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The target that was stored; keys of another release are left alone."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})


@dataclass(frozen=True, kw_only=True)
class RestoreRequest(_Request):
    """What a restore run was asked to do.

    :ivar notes: what a person should know of the whole, a sentence each
    :ivar backups: ids of the backups, by volume
    :ivar targets: where each backup goes, by volume
    """

    kind = "restore"

    options: RestoreOptions = field(default_factory=RestoreOptions)
    notes: tuple[str, ...] = ()
    backups: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, RequestedTarget] = field(default_factory=dict)

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
        """The request that was stored; what it does not name has its default."""
        targets = values.get("targets", {})
        return cls(
            **cls._common(values),
            options=RestoreOptions.from_dict(_known_options(values)),
            notes=tuple(values.get("notes", ())),
            backups=values.get("backups", {}),
            targets={key: RequestedTarget.from_dict(targets[key]) for key in targets},
        )


Request = BackupRequest | RestoreRequest


def _known_options(values: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(RestoreOptions)}
    return {name: value for name, value in values.get("options", {}).items() if name in names}


def request_of(run: Run) -> Request:
    """What a run was asked to do, for people: what another release did not store is left open."""
    if run.kind == RestoreRequest.kind:
        return RestoreRequest.from_dict(run.request)
    return BackupRequest.from_dict(run.request)


def complete_request(run: Run) -> Request:
    """What a run was asked to do, to do it.

    :raises UsageError: another release stored it: something that this one needs is missing, or it
        has an option that this one does not know
    """
    needed = [*_NEEDED, *(["targets"] if run.kind == RestoreRequest.kind else [])]
    missing = [key for key in needed if key not in run.request]
    if missing:
        raise UsageError(
            f"Another release of volflow began run {run.id}: its request does not contain "
            f"{' and '.join(map(repr, missing))}. Resume or abort it with that release."
        )
    unknown = run.request.get("options", {}).keys() - _known_options(run.request).keys()
    if unknown:
        raise UsageError(
            f"Another release of volflow began run {run.id}: this one does not know its options "
            f"{' and '.join(sorted(unknown))}. Resume or abort it with that release."
        )
    return request_of(run)
