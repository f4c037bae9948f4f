"""State in SQL: runs, ledger, catalogue, leases, and TaskFlow's own persistence.

::

    with State.open("sqlite:////var/lib/example/state.sqlite") as state:
        run = state.runs.create("backup", {}, [("key", "name")], host="h", boot_id="b", pid=1)
"""

from __future__ import annotations

import warnings

from persistence.catalogue import Backup, Catalogue
from persistence.errors import (
    Ambiguous,
    Held,
    NotFound,
    SchemaOutOfDate,
    StateError,
    StateUnavailable,
)
from persistence.leases import Lease, Leases
from persistence.ledger import Entry, EntryState, Ledger
from persistence.runs import (
    Item,
    ItemFields,
    ItemState,
    ItemSteps,
    Run,
    Runs,
    RunState,
    StepFields,
)
from persistence.state import State

__all__ = [
    "Ambiguous",
    "Backup",
    "Catalogue",
    "Entry",
    "EntryState",
    "Held",
    "Item",
    "ItemFields",
    "ItemState",
    "ItemSteps",
    "Lease",
    "Leases",
    "Ledger",
    "NotFound",
    "Run",
    "RunState",
    "Runs",
    "SchemaOutOfDate",
    "State",
    "StateError",
    "StateUnavailable",
    "StepFields",
]

# TaskFlow imports eventlet where it is installed, which warns about itself. Users of this package
# can do nothing about it.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
