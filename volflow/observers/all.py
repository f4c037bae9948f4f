"""All who are told how far a run is."""

from __future__ import annotations

from oslo_config import cfg

from persistence import State
from volflow.observers.hooks import Hooks
from volflow.observers.metrics import Metrics
from volflow.observers.progress import Progress, Several
from volflow.observers.state_database import Copies


def listeners(conf: cfg.ConfigOpts, state: State, progress: Progress) -> Progress:
    """The caller's progress, and what the configuration asks for.

    The hook comes last: it finds the metrics of the run that has ended.
    """
    found: list[Progress] = [progress, Copies(state.runs)]
    if conf.metrics.textfile:
        found.append(Metrics(conf.metrics, state))
    if conf.hooks.command:
        found.append(Hooks(conf.hooks, state.runs))
    return Several(found)
