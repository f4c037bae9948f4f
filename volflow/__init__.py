"""Back up and restore OpenStack Cinder volumes through os-brick.

The names below are the public interface. They are imported when first used, so that
``import volflow`` costs nothing.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persistence import Item, ItemState, Run, RunState, StateError
    from volflow.api.doctor import Finding
    from volflow.api.mount import MountedBackup
    from volflow.api.repositories import RepositoryInfo
    from volflow.api.runs import Resumed
    from volflow.api.volflow import Volflow
    from volflow.config import load as load_config
    from volflow.errors import (
        BackupNotFoundError,
        ChangedError,
        CloudError,
        ConfigError,
        DiskError,
        DrivenError,
        FullError,
        HostError,
        NoProgressError,
        NoRepositoryError,
        NotDeletedError,
        PasswordError,
        QuotaError,
        RepositoryError,
        ResourceNotFoundError,
        SourceDeletedError,
        StoppedError,
        SuspendedError,
        UnavailableError,
        UsageError,
        VolflowError,
        VolumeStateError,
        WaitError,
    )
    from volflow.movers.base import Change, Node, StoredBackup
    from volflow.observers.progress import NullObserver, Observer
    from volflow.plans.backup import BackupPlan
    from volflow.plans.quota import QuotaUse
    from volflow.plans.restore import RestorePlan
    from volflow.plans.restore_target import Destination, Joining, RestoreTarget
    from volflow.plans.selection import Selected, Selection
    from volflow.repositories.backups import AmbiguousNameError, NoBackupThenError
    from volflow.repositories.export import Exporter
    from volflow.repositories.manifest import Manifest, Region
    from volflow.results.holdings import Holdings
    from volflow.results.options import Overwrite, RestoreOptions
    from volflow.results.outcome import (
        CopyProgress,
        Figures,
        LeftOut,
        Outcome,
        RunResult,
        StepTime,
        VolumeResult,
    )
    from volflow.results.request import BackupRequest, RequestedTarget, RestoreRequest
    from volflow.runs.leftovers import Leftover
    from volflow.stop import Stop

__all__ = [
    "AmbiguousNameError",
    "BackupNotFoundError",
    "BackupPlan",
    "BackupRequest",
    "Change",
    "ChangedError",
    "CloudError",
    "ConfigError",
    "CopyProgress",
    "Destination",
    "DiskError",
    "DrivenError",
    "Exporter",
    "Figures",
    "Finding",
    "FullError",
    "Holdings",
    "HostError",
    "Item",
    "ItemState",
    "Joining",
    "LeftOut",
    "Leftover",
    "Manifest",
    "MountedBackup",
    "NoBackupThenError",
    "NoProgressError",
    "NoRepositoryError",
    "Node",
    "NotDeletedError",
    "NullObserver",
    "Observer",
    "Outcome",
    "Overwrite",
    "PasswordError",
    "QuotaError",
    "QuotaUse",
    "Region",
    "RepositoryError",
    "RepositoryInfo",
    "RequestedTarget",
    "ResourceNotFoundError",
    "RestoreOptions",
    "RestorePlan",
    "RestoreRequest",
    "RestoreTarget",
    "Resumed",
    "Run",
    "RunResult",
    "RunState",
    "Selected",
    "Selection",
    "SourceDeletedError",
    "StateError",
    "StepTime",
    "Stop",
    "StoppedError",
    "StoredBackup",
    "SuspendedError",
    "UnavailableError",
    "UsageError",
    "Volflow",
    "VolflowError",
    "VolumeResult",
    "VolumeStateError",
    "WaitError",
    "load_config",
]

# The module that defines each name, and its name there if that is another one.
_HOMES = {
    "AmbiguousNameError": "volflow.repositories.backups",
    "BackupNotFoundError": "volflow.errors",
    "BackupPlan": "volflow.plans.backup",
    "BackupRequest": "volflow.results.request",
    "Change": "volflow.movers.base",
    "ChangedError": "volflow.errors",
    "CloudError": "volflow.errors",
    "ConfigError": "volflow.errors",
    "CopyProgress": "volflow.results.outcome",
    "Destination": "volflow.plans.restore_target",
    "DiskError": "volflow.errors",
    "DrivenError": "volflow.errors",
    "Exporter": "volflow.repositories.export",
    "Figures": "volflow.results.outcome",
    "Finding": "volflow.api.doctor",
    "FullError": "volflow.errors",
    "Holdings": "volflow.results.holdings",
    "HostError": "volflow.errors",
    "Item": "persistence",
    "ItemState": "persistence",
    "Joining": "volflow.plans.restore_target",
    "LeftOut": "volflow.results.outcome",
    "Leftover": "volflow.runs.leftovers",
    "Manifest": "volflow.repositories.manifest",
    "MountedBackup": "volflow.api.mount",
    "NoBackupThenError": "volflow.repositories.backups",
    "NoProgressError": "volflow.errors",
    "NoRepositoryError": "volflow.errors",
    "Node": "volflow.movers.base",
    "NotDeletedError": "volflow.errors",
    "NullObserver": "volflow.observers.progress",
    "Observer": "volflow.observers.progress",
    "Outcome": "volflow.results.outcome",
    "PasswordError": "volflow.errors",
    "QuotaError": "volflow.errors",
    "QuotaUse": "volflow.plans.quota",
    "Region": "volflow.repositories.manifest",
    "RepositoryError": "volflow.errors",
    "RepositoryInfo": "volflow.api.repositories",
    "RequestedTarget": "volflow.results.request",
    "ResourceNotFoundError": "volflow.errors",
    "Overwrite": "volflow.results.options",
    "RestoreOptions": "volflow.results.options",
    "RestorePlan": "volflow.plans.restore",
    "RestoreRequest": "volflow.results.request",
    "RestoreTarget": "volflow.plans.restore_target",
    "Resumed": "volflow.api.runs",
    "Run": "persistence",
    "RunResult": "volflow.results.outcome",
    "RunState": "persistence",
    "Selected": "volflow.plans.selection",
    "Selection": "volflow.plans.selection",
    "SourceDeletedError": "volflow.errors",
    "StateError": "persistence",
    "StepTime": "volflow.results.outcome",
    "Stop": "volflow.stop",
    "StoppedError": "volflow.errors",
    "UnavailableError": "volflow.errors",
    "StoredBackup": "volflow.movers.base",
    "SuspendedError": "volflow.errors",
    "UsageError": "volflow.errors",
    "Volflow": "volflow.api.volflow",
    "VolflowError": "volflow.errors",
    "VolumeResult": "volflow.results.outcome",
    "VolumeStateError": "volflow.errors",
    "WaitError": "volflow.errors",
    "load_config": "volflow.config:load",
}

# oslo.privsep and TaskFlow import eventlet where it is installed, which warns about itself. Users
# of volflow can do nothing about it.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'volflow' has no attribute {name!r}")
    module, _, there = _HOMES[name].partition(":")
    return getattr(import_module(module), there or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
