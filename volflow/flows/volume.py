"""The frame of one volume's way: its steps in a row, undone by their own failure alone."""

from __future__ import annotations

from taskflow.patterns import linear_flow
from taskflow.retry import AlwaysRevert

from volflow.tasks.work import Work


def volume_flow(work: Work, kind: str) -> linear_flow.Flow:
    """An empty flow for the steps of one volume.

    Its retry controller reverts these steps and no others, whatever flow they are part of.
    """
    retry = AlwaysRevert(retry_name(work.volume_id))
    return linear_flow.Flow(f"{kind} {work.volume_id}", retry=retry)


def retry_name(volume_id: str) -> str:
    """The name of the retry controller among the atoms of a flow."""
    return f"{volume_id}:revert"
