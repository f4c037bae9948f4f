"""volflow as a whole: what the command line, Freezer, Mistral and other programs call."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oslo_config import cfg

from persistence import Run, RunState, State
from volflow import config, heartbeat, leftovers, preflight
from volflow.cinder import Cinder
from volflow.errors import (
    BackupNotFoundError,
    ConfigError,
    ResourceNotFoundError,
    UsageError,
)
from volflow.flows.backup import backup_flow, member_backup_flow
from volflow.flows.plan import Plan
from volflow.flows.restore import restore_in_place_flow, restore_to_new_flow
from volflow.host.identity import boot_id, host_name
from volflow.host.privilege import Privilege
from volflow.lanes import Lanes
from volflow.leftovers import Leftover
from volflow.manifest import Manifest
from volflow.movers.base import Stored
from volflow.movers.restic import SPARSE_RESTORE, Restic
from volflow.progress import Progress, Silent
from volflow.result import RunResult
from volflow.runner import Runner
from volflow.selection import Selected, Selection
from volflow.stop import Stop, Way
from volflow.tasks.group import GroupSnapshot
from volflow.tasks.work import Services, Work
from volflow.wait import Wait

_OPEN = (RunState.RUNNING, RunState.SUSPENDED)


@dataclass(frozen=True)
class RestoreTarget:
    """Where one backup goes.

    :ivar target_id: the volume to overwrite; None for a new one
    """

    backup_id: str
    manifest: Manifest
    target_id: str | None


@dataclass(frozen=True)
class BackupPlan:
    """What a backup is about to do.

    :ivar parallel: how many volumes at a time: what was asked for, or what the quota allows
    :ivar consistent: whether the volumes of a group are snapshotted at one moment, by group id
    :ivar stored: the backups that there are, the oldest first
    """

    selected: Selected
    parallel: int
    consistent: dict[str, bool]
    stored: list[Stored]


class Volflow:
    """Backs up and restores volumes of one cloud into and from one repository.

    Nothing is connected to before it is needed. Use it as a context manager, or close it.

    :param conf: the configuration, by :func:`volflow.config.load`
    :param cloud_arguments: parsed ``--os-*`` options
    :param progress: who is told how far a run is
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        cloud_arguments: argparse.Namespace | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.conf = conf
        self._cloud_arguments = cloud_arguments
        self._progress = progress or Silent()
        self.stop = Stop()
        self._manifests: dict[str, Manifest] = {}

    # The parts

    @cached_property
    def cinder(self) -> Cinder:
        """The cloud's Block Storage API."""
        from volflow import cloud

        return cloud.connect(
            name=self.conf.cloud.name,
            arguments=self._cloud_arguments,
            wait=Wait.from_config(self.conf),
            timeout=self.conf.cloud.timeout,
            stopping=self.stop.event,
        )

    @cached_property
    def privilege(self) -> Privilege:
        return Privilege(self.conf.host.root_helper)

    @cached_property
    def mover(self) -> Restic:
        """The repository."""
        return Restic(self.conf, self.privilege, self._directory("cache"))

    @cached_property
    def connector(self) -> Any:
        """os-brick on this host."""
        from volflow.host.connector import Connector

        return Connector(self.conf, self._directory("locks"))

    @cached_property
    def state(self) -> State:
        """The state database."""
        self._directory()
        return State.open(config.state_url(self.conf))

    def _directory(self, name: str = "") -> Path:
        path = config.state_dir(self.conf) / name
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied", str(path))
        except OSError as error:
            raise ConfigError(
                f"The state directory {path} cannot be written to ({error.strerror}): set "
                "state_dir in volflow.conf to a directory of the user that runs volflow."
            ) from error
        return path

    # What it does

    def plan_backup(self, selection: Selection, *, parallel: int | None = None) -> BackupPlan:
        """Find the volumes of a selection, and make sure that they can be backed up.

        :param parallel: how many volumes at a time at most; as configured unless given
        :raises VolflowError: what would fail later
        """
        selection.check()
        stored = self._prepare()
        selected = selection.find(self.cinder)
        preflight.repository_apart(
            self.cinder, self.connector, self.mover.local_path, selected.volumes
        )
        parallel = preflight.parallel_by_quota(
            self.cinder, selected.volumes, parallel or self.conf.backup.parallel
        )
        consistent = {
            group_id: self.cinder.snapshots_consistently(self.cinder.group(group_id))
            for group_id in selected.groups
        }
        return BackupPlan(selected, parallel, consistent, stored)

    def backup(
        self,
        selection: Selection | Sequence[str],
        *,
        full: bool = False,
        parallel: int | None = None,
    ) -> RunResult:
        """Back up the volumes of a selection, or those of these ids or names.

        :param full: read every file again, instead of those that changed since the last backup
        :param parallel: how many volumes at a time; as configured unless given
        :raises VolflowError: before anything is made; what fails later is in the result
        """
        if not isinstance(selection, Selection):
            selection = Selection(volumes=tuple(selection))
        return self.run_backup(self.plan_backup(selection, parallel=parallel), full=full)

    def run_backup(self, plan: BackupPlan, *, full: bool = False) -> RunResult:
        """Back up as planned."""
        selected = plan.selected
        run = self._create_run(
            "backup",
            {
                "full": full,
                "parallel": plan.parallel,
                "groups": selected.groups,
                "consistent": plan.consistent,
                "left_out": [asdict(one) for one in selected.left_out],
            },
            [(volume["id"], volume["name"] or "") for volume in selected.volumes],
        )
        return self._drive(run, plan.stored)

    def plan_restore(
        self, what: Sequence[str], *, new: bool = False, into: str | None = None
    ) -> list[RestoreTarget]:
        """Decide where each backup goes: back into its volume if that is there, else to a new one.

        :param what: ids or prefixes of backups, or ids or names of volumes (their last backup)
        :param new: make new volumes in any case
        :param into: id or name of the existing volume to restore into
        :raises VolflowError: a backup or volume is not there, attached, busy or too small
        """
        if not what:
            raise UsageError("Name at least one backup or volume.")
        if into and (new or len(what) > 1):
            raise UsageError("--into takes one backup, and goes without --new.")
        stored = self._prepare()
        backups = [find_backup(stored, name) for name in what]
        # Reading a manifest takes restic most of a second, for which it mostly computes.
        with ThreadPoolExecutor(os.cpu_count(), "manifest") as pool:
            list(pool.map(self.manifest, [backup.id for backup in backups]))
        targets = [self._target(backup, new, into) for backup in backups]
        ids = [target.manifest.volume_id for target in targets]
        if len(set(ids)) < len(ids):
            raise UsageError("Two of the backups are of the same volume; restore one at a time.")
        return targets

    def restore(
        self, targets: Sequence[RestoreTarget], *, parallel: int | None = None
    ) -> RunResult:
        """Restore as planned. Volumes that are there are overwritten.

        :raises VolflowError: before anything is made; what fails later is in the result
        """
        run = self._create_run(
            "restore",
            {
                "parallel": parallel or self.conf.backup.parallel,
                "backups": {t.manifest.volume_id: t.backup_id for t in targets},
                "targets": {t.manifest.volume_id: t.target_id for t in targets},
            },
            [(t.manifest.volume_id, str(t.manifest.volume["name"] or "")) for t in targets],
        )
        return self._drive(run, [])

    def resume(self, run_id: str) -> RunResult:
        """Go on with a run whose process is no more.

        :param run_id: its id or a prefix
        :raises UsageError: it has ended
        :raises DrivenError: a process drives it
        """
        run = self._unfinished(run_id)
        if run.stop == Way.ABORT:
            self.stop.abort()
        return self._take_over(run)

    def abort(self, run_id: str) -> RunResult | None:
        """Undo a run: one whose process is no more here and now, one that is driven by asking.

        :param run_id: its id or a prefix
        :returns: the result; None where another process was asked to undo it
        :raises UsageError: it has ended
        """
        run = self._unfinished(run_id)
        self.state.runs.update(run.id, stop=Way.ABORT)
        if heartbeat.is_driven(self.state.leases, run.id):
            return None
        self.stop.abort()
        return self._take_over(run)

    def unfinished(self) -> list[Run]:
        """The runs that have not ended and that no process drives, the oldest first."""
        runs = self.state.runs
        found = [run for state in _OPEN for run in runs.list(state=state)]
        return sorted(
            (run for run in found if not heartbeat.is_driven(self.state.leases, run.id)),
            key=lambda run: run.created_at,
        )

    def leftovers(self, *, lost: bool = False) -> list[Leftover]:
        """The temporary things that runs have left.

        :param lost: those of runs that this state database does not know, too
        """
        found = leftovers.known(self.state)
        return found + leftovers.lost(self.state, self.cinder) if lost else found

    def clean_leftovers(
        self, *, lost: bool, older_than: timedelta
    ) -> Iterator[tuple[Leftover, str | None]]:
        """Remove leftovers, and tell of each what is still in the way, if anything.

        :param lost: those of runs that this state database does not know, too
        :param older_than: how long such a run must have given no sign of life
        """
        services = self._services(run_id="")
        yield from leftovers.clean(services, leftovers.known(self.state))
        if lost:
            found = leftovers.lost(self.state, self.cinder)
            yield from leftovers.clean_lost(services, found, older_than=older_than)

    def _unfinished(self, run_id: str) -> Run:
        run = self.state.runs.get(run_id)
        if run.state.final:
            raise UsageError(f"Run {run.id} has ended already: it is {run.state.lower()}.")
        if run.request["repository"] != self.mover.location:
            raise UsageError(
                f"Run {run.id} works with the repository {run.request['repository']}, and the one "
                f"that is configured is {self.mover.location}."
            )
        return run

    def _take_over(self, run: Run) -> RunResult:
        stored = self._prepare()
        return self._drive(run, stored)

    def backups(self) -> list[Stored]:
        """All backups in the repository, the oldest first."""
        return self.mover.backups()

    def manifest(self, backup_id: str) -> Manifest:
        """The manifest of a backup, which never changes."""
        if backup_id not in self._manifests:
            self._manifests[backup_id] = Manifest.from_json(self.mover.manifest(backup_id))
        return self._manifests[backup_id]

    def close(self) -> None:
        """Close what has been opened."""
        if "state" in self.__dict__:
            self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # How

    def _prepare(self) -> list[Stored]:
        """Look at all that a run needs, side by side, and give the backups that there are."""
        checks: list[Callable[[], Any]] = [
            lambda: self.state,
            self.privilege.check,
            lambda: self.cinder,
        ]
        self.mover.check()
        with ThreadPoolExecutor(len(checks) + 1, "check") as pool:
            backups = pool.submit(self.mover.backups)
            for job in [pool.submit(check) for check in checks]:
                job.result()
            return backups.result()

    def _target(self, stored: Stored, new: bool, into: str | None) -> RestoreTarget:
        manifest = self.manifest(stored.id)
        preflight.sparse_files_fit(manifest, restores_holes=self.mover.version >= SPARSE_RESTORE)
        target = None
        if into:
            target = self.cinder.find_volume(into)
        elif not new:
            try:
                target = self.cinder.volume(manifest.volume_id)
            except ResourceNotFoundError:
                target = None
        if target is None:
            preflight.new_volume(self.cinder, manifest)
        else:
            preflight.existing_target(target, manifest)
        return RestoreTarget(stored.id, manifest, target["id"] if target else None)

    def _create_run(self, kind: str, request: dict[str, Any], items: list[tuple[str, str]]) -> Run:
        return self.state.runs.create(
            kind,
            request | {"repository": self.mover.location},
            items,
            host=host_name(),
            boot_id=boot_id(),
            pid=os.getpid(),
        )

    def _drive(self, run: Run, stored: Sequence[Stored]) -> RunResult:
        # In order of time: the last of each volume stays.
        parents = {backup.tags["volume"]: backup.id for backup in stored}
        services = self._services(
            run_id=run.id,
            parents={} if run.request.get("full") else parents,
            parallel=run.request["parallel"],
        )
        unfinished = [i.key for i in self.state.runs.items(run.id) if not i.state.final]
        shared = [
            (GroupSnapshot(Work(services, group_id)), members)
            for group_id, members in run.request.get("groups", {}).items()
        ]
        group_of = {member: group for group, members in shared for member in members}
        flows = {
            key: self._flow(run, Work(services, key), group_of.get(key))
            for key in [i.key for i in self.state.runs.items(run.id)]
            # The volumes of a group run as one flow, so they stay together.
            if key in unfinished or key in group_of
        }
        runner = Runner(self.state, services, run.request["parallel"], self.stop)
        return runner.drive(run, Plan(flows, shared))

    def _services(
        self, run_id: str, parents: Mapping[str, str] | None = None, parallel: int = 1
    ) -> Services:
        return Services(
            run_id=run_id,
            cinder=self.cinder,
            connector=self.connector,
            privilege=self.privilege,
            mover=self.mover,
            ledger=self.state.ledger,
            catalogue=self.state.catalogue,
            progress=self._progress,
            mount_root=self._directory("mount"),
            lanes=Lanes(parallel, self.stop.event),
            parents=parents or {},
            stopping=self.stop.event,
        )

    def _flow(self, run: Run, work: Work, group: GroupSnapshot | None) -> Any:
        if run.kind == "backup":
            return member_backup_flow(work, group) if group else backup_flow(work)
        backup_id = run.request["backups"][work.volume_id]
        target_id = run.request["targets"][work.volume_id]
        manifest = self.manifest(backup_id)
        if target_id is None:
            return restore_to_new_flow(work, backup_id, manifest)
        return restore_in_place_flow(work, backup_id, manifest, target_id)


def find_backup(stored: Sequence[Stored], what: str) -> Stored:
    """The backup of that id or prefix, or the last backup of the volume of that id or name.

    :param stored: the backups, the oldest first
    :raises BackupNotFoundError: there is none
    :raises UsageError: it could be several
    """
    by_volume = [b for b in stored if what in (b.tags.get("volume"), b.tags.get("name"))]
    volumes = {backup.tags.get("volume") for backup in by_volume}
    if len(volumes) > 1:
        ids = ", ".join(sorted(map(str, volumes)))
        raise UsageError(f"Backups of {len(volumes)} volumes named '{what}'; give an id: {ids}")
    if by_volume:
        return by_volume[-1]
    by_id = [backup for backup in stored if backup.id.startswith(what)]
    if not by_id:
        raise BackupNotFoundError(
            f"No backup, and no volume with a backup, has the id or name '{what}'. "
            "'volflow backup list' shows those that there are."
        )
    if len(by_id) > 1:
        ids = ", ".join(backup.id[:12] for backup in by_id)
        raise UsageError(f"{len(by_id)} backups begin with '{what}'; give more of it: {ids}")
    return by_id[0]
