"""All who are told how far a run is."""

from __future__ import annotations

from oslo_config import cfg

from persistence import State
from volflow.observers.hooks import Hooks
from volflow.observers.metrics import Metrics
from volflow.observers.progress import Observer, Observers
from volflow.observers.state_database import ProgressRecorder


def observers(conf: cfg.ConfigOpts, state: State, progress: Observer) -> Observer:
    """The caller's progress, and what the configuration asks for.

    The hook comes last: it finds the metrics of the run that has ended.
    """
    found: list[Observer] = [progress, ProgressRecorder(state.runs)]
    if conf.metrics.textfile:
        found.append(Metrics(conf.metrics, state))
    if conf.hooks.command:
        found.append(Hooks(conf.hooks, state.runs))
    return Observers(found)
