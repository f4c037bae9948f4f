"""The checks before a run begins, and the import of its libraries."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from volflow.context import Context
from volflow.host import eventlet
from volflow.movers.base import StoredBackup


def load_libraries() -> None:
    """Import TaskFlow and os-brick. They import slowly, and listings do not need them."""
    eventlet.load()
    importlib.import_module("volflow.runs.drive")


def prepare(context: Context) -> list[StoredBackup] | None:
    """Check everything that a run needs, in parallel, and list the backups.

    :returns: None if each project has its own repository: which ones are needed is not known
        yet
    """
    looks = checks(context)
    if context.repositories.per_project:
        # The repository of the login's project may not be one of those that the run uses.
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
    """The checks of what a run needs besides the repository."""
    return [
        lambda: context.state,
        context.host.privilege.check,
        lambda: context.cloud.cinder,
        lambda: _load_connector(context),
    ]


def _load_connector(context: Context) -> None:
    load_libraries()
    _ = context.host.connector
