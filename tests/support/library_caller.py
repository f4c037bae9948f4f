"""A program that uses volflow as a library, in a thread other than its main thread."""

from __future__ import annotations

import threading
from typing import Any

from tests.support.site import Site
from volflow.results.options import RestoreOptions

# The longest time in seconds that a suspension may take.
_PATIENCE = 60.0


class Caller(threading.Thread):
    """A program that uses volflow in a thread other than its main thread, as Freezer does."""

    def __init__(self, site: Site, volume: str, verb: str = "backup", **options: Any) -> None:
        super().__init__(daemon=True)
        self.site, self.volume, self.verb, self.options = site, volume, verb, options
        self.volflow: Any = None
        self.result: Any = None

    def run(self) -> None:
        with self.site.volflow() as self.volflow:
            try:
                if self.verb == "backup":
                    self.result = self.volflow.backups.create([self.volume])
                else:
                    options = RestoreOptions(**self.options)
                    plan = self.volflow.restores.plan([self.volume], options)
                    self.result = self.volflow.restores.run(plan)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.result = error

    def suspended(self) -> None:
        """Suspend the run, in a process that does not end afterwards as the command line does."""
        self.volflow.stop.suspend()
        self.join(_PATIENCE)
        assert not self.is_alive()
        assert "is suspended" in str(self.result)
