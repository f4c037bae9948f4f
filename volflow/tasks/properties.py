"""The properties of the restored volume: given to it, and compared with those it had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from persistence import Entry
from volflow.manifest import Manifest
from volflow.properties import Properties, differences
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work


class ApplyProperties(Temporary):
    """Gives the volume the properties of the backup; its revert gives back those it had.

    Type, zone and size a new volume has from its making; multiattach comes by the type.

    :param overrides: properties that are to be others than in the backup
    """

    kind = "properties"
    step = "properties"

    def __init__(
        self, work: Work, manifest: Manifest, overrides: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(work)
        self._wanted = Properties.of(manifest.volume, overrides)

    def execute(self, clone_id: str) -> None:
        ledger, cinder = self.services.ledger, self.work.cinder
        known = ledger.find(self.tag)
        if known is None:
            # What it had before: a second attempt finds it changed in part.
            now = Properties.of(cinder.volume(clone_id))
            self.intend(volume_id=clone_id, had=asdict(now))
        self._wanted.apply(cinder, clone_id)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        volume_id = str(entry.details["volume_id"])
        if work.cinder.existing_volume(volume_id):
            Properties(**entry.details["had"]).apply(work.cinder, volume_id)


class KeepProperties(Step):
    """From here on nothing takes the properties back."""

    step = "keep properties"

    def __init__(self, applied: ApplyProperties) -> None:
        super().__init__(applied.work)
        self._applied = applied

    def execute(self) -> None:
        self.services.ledger.gone(self._applied.tag)


class Compare(Step):
    """Tells what the volume has not got back. Makes nothing."""

    step = "compare properties"
    default_provides = "differences"

    def __init__(self, work: Work, manifest: Manifest, *, applied: bool) -> None:
        super().__init__(work)
        self._manifest, self._applied = manifest, applied

    def execute(self, clone_id: str) -> list[dict[str, Any]]:
        found = differences(
            self._manifest.volume,
            self.work.cinder.volume(clone_id),
            qos=self._manifest.volume_type.get("qos_specs_id"),
            applied=self._applied,
        )
        return [asdict(difference) for difference in found]
