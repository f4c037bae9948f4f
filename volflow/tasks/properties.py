"""The properties of the restored volume: set from the backup, and compared with the backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from persistence import Entry
from volflow.cloud.properties import NOT_VISIBLE, Difference, Properties, differences
from volflow.errors import CloudError, ResourceNotFoundError
from volflow.printable import bounded
from volflow.repositories.manifest import Manifest
from volflow.tasks import as_left
from volflow.tasks.as_left import OVERWRITE
from volflow.tasks.base import Step, Temporary
from volflow.tasks.group import RestoredGroup
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.work import Work


class ApplyProperties(Temporary):
    """Sets the properties of the backup on the volume; its revert sets the former ones again.

    A property that Cinder refuses does not fail the restore: the ledger records why, and
    :class:`Compare` reports it. A new volume gets its type, zone and size when it is created;
    multiattach comes with the type.

    :param overrides: properties with other values than in the backup
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
        # The former properties: a second attempt finds them changed in part.
        had = known.details["had"] if known else None
        try:
            if had is None:
                had = asdict(Properties.of(cinder.volumes.get(clone_id)))
                self.intend(volume_id=clone_id, had=had)
            with as_left.touching(self.work, clone_id):
                refused = self._wanted.apply(cinder, clone_id)
        except ResourceNotFoundError:
            raise
        except CloudError as error:
            refused = {field.name: bounded(str(error)) for field in fields(self._wanted)}
        self.intend(volume_id=clone_id, had=had, refused=refused)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        if _is_kept(work):
            # The restore was interrupted when the data was already kept: so are its properties.
            return
        volume_id, had = str(entry.details["volume_id"]), entry.details["had"]
        if had and work.cinder.volumes.existing(volume_id):
            with as_left.touching(work, volume_id):
                refused = Properties(**had).apply(work.cinder, volume_id)
            if refused:
                why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
                raise CloudError(
                    f"Volume {volume_id} did not get its former properties back: {why}"
                )


def _is_kept(work: Work) -> bool:
    """Whether the restored data stays."""
    kinds = (NewVolume.kind, OVERWRITE)
    found = [work.services.ledger.find(work.tag(kind)) for kind in kinds]
    return any(entry is not None and bool(entry.details.get("kept")) for entry in found)


class KeepProperties(Step):
    """Records that the properties stay: from here on nothing reverts them."""

    step = "keep properties"

    def __init__(self, applied: ApplyProperties) -> None:
        super().__init__(applied.work)
        self._applied = applied

    def execute(self) -> None:
        self.services.ledger.gone(self._applied.tag)


class Compare(Step):
    """Reports which properties differ from those in the backup. Makes nothing.

    :param beside: the old volume still exists in the group that it was backed up in
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
        """The differences between the backup and the volume, as dictionaries.

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
            # This is no reason to give up what was restored.
            unknown = Difference("all", None, None, f"they could not be compared: {error}")
            before = asdict(Properties.of(was))
            known = [Difference(name, before[name], None, why) for name, why in refused.items()]
            return [asdict(one) for one in (unknown, *known)]
        found = differences(was, now, qos=qos, applied=self._applied, refused=refused)
        found += changed
        return [
            asdict(replace(one, why=no_group) if one.name == "group_id" and no_group else one)
            for one in found
        ]

    def _changed(self, was: Mapping[str, Any]) -> list[Difference]:
        """The changes since the backup in the QoS specification, which is still the same one."""
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
            # The type is private, or was deleted meanwhile.
            return NOT_VISIBLE


def _qos(volume_type: Mapping[str, Any]) -> str | None:
    """The id of the QoS specification of a volume type; None for no type."""
    if not volume_type:
        return None
    found = volume_type.get("qos_specs_id", NOT_VISIBLE)
    return str(found) if found else None


class CompareMember(Compare):
    """Compares a volume that shall be in the group that restored volumes share."""

    def __init__(
        self, work: Work, manifest: Manifest, group: RestoredGroup, *, applied: bool
    ) -> None:
        rebind = {"group": group.symbol("group")}
        super().__init__(work, manifest, applied=applied, rebind=rebind)

    def execute(self, clone_id: str, group: dict[str, Any]) -> list[dict[str, Any]]:  # type: ignore[override]
        was = self._manifest.volume
        # A group that was created again has another id, but it is the volume's group.
        meant = was | {"group_id": group["id"]} if group["id"] else was
        why = group.get("why") or "volumes of this type cannot be in it"
        return [*self._compare(clone_id, meant, why), *group.get("differences", ())]


class CompareJoined(CompareMember):
    """Compares an existing volume that joined the group."""

    def execute(  # type: ignore[override]
        self, clone_id: str, group: dict[str, Any], joining: str
    ) -> list[dict[str, Any]]:
        return super().execute(clone_id, group | ({"why": joining} if joining else {}))
