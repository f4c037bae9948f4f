"""What is looked at before a run begins."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from volflow.context import Context
from volflow.host import eventlet
from volflow.movers.base import StoredBackup

if TYPE_CHECKING:
    from volflow.runs.build import FlowBuilder


def flow_builder(context: Context) -> FlowBuilder:
    """What makes the flows of runs."""
    # TaskFlow and os-brick take a while to import, and listings do not need them.
    eventlet.load()
    from volflow.runs.build import FlowBuilder

    return FlowBuilder(context)


def prepare(context: Context) -> list[StoredBackup] | None:
    """Look at all that a run needs, side by side, and give the backups that there are.

    Where each project has a repository of its own, which ones are needed is not known yet.
    """
    looks = checks(context)
    if context.repositories.per_project:
        # That of the login itself need not be one of them.
        for look in looks:
            look()
        return None
    context.repositories.of().check()
    with ThreadPoolExecutor(len(looks) + 1, "check") as pool:
        backups = pool.submit(context.backups.backups)
        for job in [pool.submit(look) for look in looks]:
            job.result()
        return backups.result()


def checks(context: Context) -> list[Callable[[], Any]]:
    """Look at what a run needs beside the repository."""
    return [
        lambda: context.state,
        context.host.privilege.check,
        lambda: context.cloud.cinder,
        lambda: (flow_builder(context), context.host.connector),
    ]
