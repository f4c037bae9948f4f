"""Restores: planning and running them, and taking backups out without a cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from volflow.context import Context
from volflow.errors import VolflowError
from volflow.movers.base import REGION, StoredBackup
from volflow.movers.restic.browse import Browser
from volflow.plans.quota import QuotaUse
from volflow.plans.restore import RestorePlan, RestoreTarget, plan_restore, restore_needs
from volflow.plans.restore_groups import assign_groups, notes
from volflow.plans.restore_source import choose
from volflow.plans.selection import Selection
from volflow.repositories.export import Exporter
from volflow.results.options import RestoreOptions
from volflow.results.outcome import LeftOut, RunResult
from volflow.runs.prepare import flow_builder, prepare
from volflow.runs.request import create_run


class RestoreApi:
    """What can be done to restore backups."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def plan(
        self,
        selection: Selection | Sequence[str],
        options: RestoreOptions | None = None,
        *,
        at: datetime | None = None,
    ) -> RestorePlan:
        """Decide where each backup goes: back into its volume if that is there, else to a new one.

        :param selection: what to restore; or ids or prefixes of backups, or ids or names of
            volumes, of which it is the last backup
        :param at: as it was at this moment
        :raises VolflowError: a backup or volume is not there, attached, busy or too small
        """
        if not isinstance(selection, Selection):
            selection = Selection(volumes=tuple(selection))
        selection.check()
        stored, context = prepare(self._context), self._context
        options, whole = options or RestoreOptions(), not selection.volumes
        projects = options.source_projects(context.cloud.cinder.project_id)
        troubles: dict[str, VolflowError] = {}
        if selection.all_tenants:
            context.cloud.cinder.require_all_tenants()
        if stored is None and selection.all_tenants:
            stored, troubles = self._context.backups.look_everywhere(options.project_map)
        elif stored is None:
            stored, troubles = self._context.backups.look(projects)
        if troubles and not (whole and stored):
            raise type(next(iter(troubles.values())))("\n".join(map(str, troubles.values())))
        chosen = choose(self._context.backups, stored, selection, projects=projects, at=at)
        plan = plan_restore(
            context.cloud,
            context.repositories,
            context.backups,
            chosen.backups,
            options,
            whole=whole,
        )
        targets = assign_groups(context.cloud, plan, options, whole=bool(selection.groups))
        return RestorePlan(
            targets,
            [
                *(LeftOut("", f"project {one}", str(troubles[one]), True) for one in troubles),
                *chosen.left_out,
                *plan.left_out,
            ],
            notes(targets),
        )

    def run(
        self,
        targets: Sequence[RestoreTarget],
        options: RestoreOptions | None = None,
        *,
        parallel: int | None = None,
    ) -> RunResult:
        """Restore as planned. Volumes that are there are overwritten.

        :param options: those with which it was planned
        :raises VolflowError: before anything is made; what fails later is in the result
        """
        groups: dict[str, list[str]] = {}
        for target in targets:
            if target.group_key:
                groups.setdefault(target.group_key, []).append(target.key)
        run = create_run(
            self._context,
            "restore",
            {
                "groups": groups,
                "left_out": [asdict(one) for one in getattr(targets, "left_out", ())],
                "notes": list(getattr(targets, "notes", ())),
                "parallel": self.quota_use(targets, options, parallel=parallel)[0],
                "options": (options or RestoreOptions()).to_dict(),
                "backups": {t.key: t.backup.id for t in targets},
                "targets": {t.key: t.to_dict() for t in targets},
                "projects": {t.key: t.project_id for t in targets},
                # A restored volume belongs to the tenant that it came from.
                "act_in": "tenant",
            },
            [(t.key, str(t.manifest.volume["name"] or "")) for t in targets],
        )
        return flow_builder(self._context).drive(run, [])

    def quota_use(
        self,
        targets: Sequence[RestoreTarget],
        options: RestoreOptions | None = None,
        *,
        parallel: int | None = None,
    ) -> tuple[int, list[QuotaUse]]:
        """How many volumes at a time the quotas allow, and what a restore takes of them.

        :raises QuotaError: one does not allow even one
        """
        most = parallel or self._context.conf.backup.parallel
        return restore_needs(self._context.cloud, targets, options or RestoreOptions(), most)

    def steps(
        self, targets: Sequence[RestoreTarget], options: RestoreOptions | None = None
    ) -> dict[str, list[str]]:
        """The names of the steps of one volume, in their order, by where its data goes."""
        return flow_builder(self._context).restore_steps(targets, options or RestoreOptions())

    def export(self, backup: StoredBackup) -> Exporter:
        """Take a backup out of the repository without a cloud."""
        context = self._context
        context.host.privilege.check()
        repository = context.repositories.of(backup.tags.get("project"))
        return Exporter(
            backup,
            self._context.backups.manifest(backup),
            repository,
            Browser(repository, REGION),
            context.host,
            context.observer,
            context.stop,
        )
