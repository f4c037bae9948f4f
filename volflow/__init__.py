"""Back up and restore OpenStack Cinder volumes through os-brick.

The names below are the public interface. They are imported when first used, so that
``import volflow`` costs nothing.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volflow.api.volflow import Volflow
    from volflow.context import Context
    from volflow.errors import VolflowError
    from volflow.repositories.manifest import Manifest
    from volflow.results.outcome import Outcome, RunResult, VolumeResult

__all__ = ["Context", "Manifest", "Outcome", "RunResult", "Volflow", "VolflowError", "VolumeResult"]

_HOMES = {
    "Context": "volflow.context",
    "Manifest": "volflow.repositories.manifest",
    "Outcome": "volflow.results.outcome",
    "RunResult": "volflow.results.outcome",
    "VolflowError": "volflow.errors",
    "Volflow": "volflow.api.volflow",
    "VolumeResult": "volflow.results.outcome",
}

# oslo.privsep and TaskFlow import eventlet where that is installed, and it warns of itself: nothing
# that whoever uses volflow could do anything about.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'volflow' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
