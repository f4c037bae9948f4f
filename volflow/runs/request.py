"""What was asked of a run, as it is stored."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from persistence import Run
from volflow.context import Context
from volflow.host.identity import boot_id, host_name

LOG = logging.getLogger(__name__)

# How many old runs are forgotten when a run begins: more than one, so that they become fewer.
_FORGET = 10


def create_run(
    context: Context, kind: str, request: dict[str, Any], items: list[tuple[str, str]]
) -> Run:
    before = datetime.now(UTC) - timedelta(days=context.conf.keep_runs)
    for run_id in context.state.retention.forget(before, most=_FORGET):
        LOG.info("Run %s ended long ago, and is forgotten", run_id)
    return context.state.runs.create(
        kind,
        request
        | {
            "repository": context.repositories.location,
            # Under another login what the run makes would seem to be gone.
            "login": context.cloud.login.to_dict(),
        },
        items,
        host=host_name(),
        boot_id=boot_id(),
        pid=os.getpid(),
    )
