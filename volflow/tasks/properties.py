"""The properties of the restored volume: given to it, and compared with those it had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from persistence import Entry
from volflow.cloud.properties import NOT_VISIBLE, Difference, Properties, differences
from volflow.errors import CloudError, ResourceNotFoundError
from volflow.repositories.manifest import Manifest
from volflow.tasks.base import Step, Temporary
from volflow.tasks.group import RestoredGroup
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.safety_snapshot import OVERWRITE
from volflow.tasks.work import Work


class ApplyProperties(Temporary):
    """Gives the volume the properties of the backup; its revert gives back those it had.

    What Cinder does not take is no reason to give up what was restored: the ledger has why, and
    :class:`Compare` tells it. Type, zone and size a new volume has from its making; multiattach
    comes by the type.

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
        cinder = self.work.cinder
        known = self.services.ledger.find(self.tag)
        # What it had before: a second attempt finds it changed in part.
        had = known.details["had"] if known else None
        try:
            if had is None:
                had = asdict(Properties.of(cinder.volumes.get(clone_id)))
                self.intend(volume_id=clone_id, had=had)
            refused = self._wanted.apply(cinder, clone_id)
        except ResourceNotFoundError:
            raise
        except CloudError as error:
            refused = {field.name: str(error) for field in fields(self._wanted)}
        self.intend(volume_id=clone_id, had=had, refused=refused)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        if _is_kept(work):
            # It was interrupted after the data had come to stay: the properties belong to it.
            return
        volume_id, had = str(entry.details["volume_id"]), entry.details["had"]
        if had and work.cinder.volumes.existing(volume_id):
            refused = Properties(**had).apply(work.cinder, volume_id)
            if refused:
                why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
                raise CloudError(f"Volume {volume_id} did not get back what it had: {why}")


def _is_kept(work: Work) -> bool:
    """Whether what was restored is there to stay."""
    kinds = (NewVolume.kind, OVERWRITE)
    found = [work.services.ledger.find(work.tag(kind)) for kind in kinds]
    return any(entry is not None and bool(entry.details.get("kept")) for entry in found)


class KeepProperties(Step):
    """From here on nothing takes the properties back."""

    step = "keep properties"

    def __init__(self, applied: ApplyProperties) -> None:
        super().__init__(applied.work)
        self._applied = applied

    def execute(self) -> None:
        self.services.ledger.gone(self._applied.tag)


class Compare(Step):
    """Tells what the volume has not got back. Makes nothing.

    :param beside: the old volume is still in the group that the backup is of
    """

    step = "compare properties"
    default_provides = "differences"

    def __init__(
        self,
        work: Work,
        manifest: Manifest,
        *,
        applied: bool,
        beside: bool = False,
        rebind: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(work, rebind=rebind)
        self._manifest, self._applied, self._beside = manifest, applied, beside

    def execute(self, clone_id: str) -> list[dict[str, Any]]:
        why = "the old volume is still in it" if self._beside else None
        return self._compare(clone_id, self._manifest.volume, why)

    def _compare(
        self, volume_id: str, was: dict[str, Any], no_group: str | None
    ) -> list[dict[str, Any]]:
        """
        :param no_group: why the volume is not in the group, where that is known
        """
        entry = self.services.ledger.find(self.work.tag(ApplyProperties.kind))
        refused: Mapping[str, str] = entry.details.get("refused") or {} if entry else {}
        try:
            now = self.work.cinder.volumes.get(volume_id)
            qos = _qos(self._manifest.volume_type), self._qos_now(now["volume_type"])
            changed = self._changed(self._manifest.qos) if qos[0] == qos[1] else []
        except ResourceNotFoundError:
            raise
        except CloudError as error:
            # What was restored is not given up because nobody can look at it.
            blind = Difference("all", None, None, f"they could not be compared: {error}")
            before = asdict(Properties.of(was))
            known = [Difference(name, before[name], None, why) for name, why in refused.items()]
            return [asdict(one) for one in (blind, *known)]
        found = differences(was, now, qos=qos, applied=self._applied, refused=refused)
        found += changed
        return [
            asdict(replace(one, why=no_group) if one.name == "group_id" and no_group else one)
            for one in found
        ]

    def _changed(self, was: Mapping[str, Any]) -> list[Difference]:
        """What has become another in the QoS specification that the volume still has."""
        if not was:
            return []
        now = self.work.cinder.types.qos_specs(was["id"])
        why = "the QoS specification was changed since the backup"
        return [
            Difference(f"qos_specs.{name}", was.get(name), now.get(name), why)
            for name in ("consumer", "specs")
            if was.get(name) != now.get(name)
        ]

    def _qos_now(self, volume_type: str | None) -> str | None:
        if not volume_type:
            return None
        try:
            return _qos(self.work.cinder.types.find(volume_type))
        except ResourceNotFoundError:
            # It is a private one, or was deleted since.
            return NOT_VISIBLE


def _qos(volume_type: Mapping[str, Any]) -> str | None:
    """The QoS specification of a volume type, as the API shows it; of no type there is none."""
    if not volume_type:
        return None
    found = volume_type.get("qos_specs_id", NOT_VISIBLE)
    return str(found) if found else None


class CompareMember(Compare):
    """The same for a volume that is to be in a group that restored ones share."""

    def __init__(
        self, work: Work, manifest: Manifest, group: RestoredGroup, *, applied: bool
    ) -> None:
        rebind = {"group": group.symbol("group")}
        super().__init__(work, manifest, applied=applied, rebind=rebind)

    def execute(self, clone_id: str, group: dict[str, Any]) -> list[dict[str, Any]]:  # type: ignore[override]
        was = self._manifest.volume
        # One that was made anew has another id, and is the volume's group all the same.
        meant = was | {"group_id": group["id"]} if group["id"] else was
        why = group.get("why") or "volumes of this type cannot be in it"
        return [*self._compare(clone_id, meant, why), *group.get("differences", ())]


class CompareJoined(CompareMember):
    """The same for a volume that was there before, and joined the group."""

    def execute(  # type: ignore[override]
        self, clone_id: str, group: dict[str, Any], joining: str
    ) -> list[dict[str, Any]]:
        return super().execute(clone_id, group | ({"why": joining} if joining else {}))
