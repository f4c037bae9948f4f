"""The frame of the flow of one volume: steps in a row that only their own failure reverts."""

from __future__ import annotations

from taskflow.patterns import linear_flow
from taskflow.retry import AlwaysRevert

from volflow.tasks.work import Work


def volume_flow(work: Work, kind: str) -> linear_flow.Flow:
    """An empty flow for the steps of one volume.

    Its retry controller reverts these steps and no others, whatever flow contains them.
    """
    retry = AlwaysRevert(retry_name(work.volume_id))
    return linear_flow.Flow(f"{kind} {work.volume_id}", retry=retry)


def retry_name(volume_id: str) -> str:
    """The name of the volume's retry controller in a flow."""
    return f"{volume_id}:revert"
