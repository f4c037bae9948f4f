"""All observers of a run."""

from __future__ import annotations

from oslo_config import cfg

from persistence import State
from volflow.observers.hooks import Hooks
from volflow.observers.metrics import Metrics
from volflow.observers.progress import Observer, Observers
from volflow.observers.state_database import ProgressRecorder


def observers(conf: cfg.ConfigOpts, state: State, progress: Observer) -> Observer:
    """The caller's observer, and those that the configuration enables.

    The hook runs last, so that it finds the metrics of the ended run.
    """
    found: list[Observer] = [progress, ProgressRecorder(state.runs)]
    if conf.metrics.textfile:
        found.append(Metrics(conf.metrics, state))
    if conf.hooks.command:
        found.append(Hooks(conf.hooks, state.runs))
    return Observers(found)
