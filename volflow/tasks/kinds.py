"""What can stand in the ledger, and the classes that know how to remove it."""

from __future__ import annotations

from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Temporary
from volflow.tasks.claim import Claim
from volflow.tasks.copy_back import SafetyAttachment, SafetyDevice, SafetyVolume
from volflow.tasks.device import Device
from volflow.tasks.group import GroupSnapshot, RestoredGroup
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.properties import ApplyProperties
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.save import Save
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.temporary_volume import TemporaryVolume

#: By the kind of a ledger's entry.
KINDS: dict[str, type[Temporary]] = {
    kind.kind: kind
    for kind in (
        Snapshot,
        GroupSnapshot,
        RestoredGroup,
        TemporaryVolume,
        Attachment,
        Device,
        Save,
        RepositoryLock,
        NewVolume,
        Claim,
        SafetySnapshot,
        SafetyVolume,
        SafetyAttachment,
        SafetyDevice,
        ApplyProperties,
    )
}
