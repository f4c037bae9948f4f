"""Storing a new run with its request."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from persistence import Run, State
from volflow.host.identity import boot_id, host_name
from volflow.results.request import Request

LOG = logging.getLogger(__name__)

# Number of old runs to forget when a run begins: more than one, so that their number decreases.
_FORGET = 10


def create_run(
    state: State, request: Request, items: Sequence[tuple[str, str]], *, keep_days: int
) -> Run:
    """Store a new run of this process, and forget runs that ended long ago.

    :param items: id and name of each volume
    :param keep_days: how long runs are kept after their end
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    for run_id in state.retention.forget(before, most=_FORGET):
        LOG.info("Run %s ended long ago, and is forgotten", run_id)
    return state.runs.create(
        request.kind,
        request.to_dict(),
        items,
        host=host_name(),
        boot_id=boot_id(),
        pid=os.getpid(),
    )
