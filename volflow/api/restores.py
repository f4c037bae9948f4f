"""Restores: planning and running them, and taking backups out without a cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from volflow.context import Context
from volflow.movers.base import REGION, StoredBackup
from volflow.movers.restic.browse import Browser
from volflow.plans.restore import RestorePlan, RestorePlanner
from volflow.plans.selection import Selection
from volflow.repositories.export import Exporter
from volflow.results.options import RestoreOptions
from volflow.results.outcome import RunResult
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
        parallel: int | None = None,
    ) -> RestorePlan:
        """Decide where each backup goes: back into its volume if that is there, else to a new one.

        :param selection: what to restore; or ids or prefixes of backups, or ids or names of
            volumes, of which it is the last backup
        :param at: as it was at this moment
        :param parallel: how many volumes at a time at most; as configured unless given
        :raises VolflowError: a backup or volume is not there, attached, busy or too small
        """
        if not isinstance(selection, Selection):
            selection = Selection(volumes=tuple(selection))
        selection.check()
        context = self._context
        return RestorePlanner(context.cloud, context.repositories, context.backups).plan(
            selection,
            options or RestoreOptions(),
            prepare(context),
            parallel or context.conf.backup.parallel,
            at=at,
        )

    def run(self, plan: RestorePlan) -> RunResult:
        """Restore as planned. Volumes that are there are overwritten.

        :raises VolflowError: before anything is made; what fails later is in the result
        """
        targets = plan.targets
        run = create_run(
            self._context,
            "restore",
            {
                "groups": plan.groups,
                "left_out": [asdict(one) for one in plan.left_out],
                "notes": list(plan.notes),
                "parallel": plan.parallel,
                "options": plan.options.to_dict(),
                "backups": {t.key: t.backup.id for t in targets},
                "targets": {t.key: t.to_dict() for t in targets},
                "projects": {t.key: t.project_id for t in targets},
                # A restored volume belongs to the tenant that it came from.
                "act_in": "tenant",
            },
            [(t.key, str(t.manifest.volume["name"] or "")) for t in targets],
        )
        return flow_builder(self._context).drive(run, [])

    def steps(self, plan: RestorePlan) -> dict[str, list[str]]:
        """The names of the steps of one volume, in their order, by where its data goes."""
        return flow_builder(self._context).restore_steps(plan.targets, plan.options)

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
