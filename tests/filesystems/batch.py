"""Variants that are backed up and restored together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.filesystems.facts import facts, needless, sound, untold
from tests.filesystems.tenant import NotMadeError, Original, files_on, furnish
from tests.filesystems.variant import Variant
from tests.support import tree
from tests.support.site import Site

_PREFIX = "file system: "


@dataclass
class Verdict:
    """What became of a variant.

    :ivar image: whether its bytes were stored, not its files
    :ivar end: in a few words
    :ivar told: the differences that volflow has told
    :ivar troubles: what is wrong
    """

    variant: Variant
    end: str = ""
    told: set[str] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    made: bool = True
    image: bool = False

    def __str__(self) -> str:
        told = f"; told: {', '.join(sorted(self.told))}" if self.told else ""
        return f"{'BAD' if self.troubles else 'ok '} {self.variant}: {self.end}{told}"


class Batch:
    """Some variants on volumes of a site."""

    def __init__(self, site: Site, volflow: Any) -> None:
        self._site, self._volflow = site, volflow
        self._place = site.home / "guest"
        self._place.mkdir(exist_ok=True)
        # The checksum of each volume that was stored as an image.
        self._bytes: dict[str, str] = {}

    def run(self, variants: Sequence[Variant]) -> list[Verdict]:
        """Back up and restore variants; delete their volumes afterwards."""
        verdicts = [Verdict(variant) for variant in variants]
        known: dict[str, Verdict] = {}
        originals = []
        try:
            for verdict in verdicts:
                if original := self._furnished(verdict):
                    originals.append(original)
                    known[original.volume] = verdict
            self._all(originals, known)
        finally:
            for volume in list(self._site.cloud.known.volumes):
                self._site.cloud.delete(volume)
        return verdicts

    def _furnished(self, verdict: Verdict) -> Original | None:
        """The volume of a variant, unless the tools cannot make it."""
        cloud = self._site.cloud
        volume = cloud.create(name=str(verdict.variant)[:200])
        try:
            with cloud.attached(volume) as device:
                return furnish(verdict.variant, volume, device, self._place)
        except NotMadeError as error:
            verdict.made, verdict.end = False, f"cannot be made: {error}"
            return None

    def _all(self, originals: list[Original], known: dict[str, Verdict]) -> None:
        if not originals:
            return
        result = self._volflow.backups.create([each.volume for each in originals])
        backed = {each.volume_id: each for each in result.volumes}
        kept: dict[str, Original] = {}
        for original in originals:
            self._judge_backup(original, backed[original.volume], known[original.volume])
            if backup := backed[original.volume].backup_id:
                kept[backup] = original
        for options in ({"new": True}, {}):
            for backup, one in self._restored(kept, options):
                verdict = known[kept[backup].volume]
                where = "new" if options else "in place"
                self._judge(where, kept[backup], verdict, one)
        for backup, original in kept.items():
            self._image(backup, original, known[original.volume])

    def _judge_backup(self, original: Original, result: Any, verdict: Verdict) -> None:
        outcome = str(result.outcome)
        said = [*([result.error] if result.error else []), *result.remarks]
        verdict.end = f"backup {outcome}{f' ({chr(32).join(said)})' if said else ''}"
        verdict.image = any("stored as an image" in one for one in result.remarks)
        if verdict.image:
            with self._site.cloud.attached(original.volume) as device:
                self._bytes[original.volume] = _checksum(device)
        if outcome == "complete":
            if original.unmounted and not result.remarks:
                verdict.troubles.append(f"no remark, and {original.unmounted}")
        elif outcome != "failed" or not original.unmounted or not result.error:
            verdict.troubles.append(f"the backup is {outcome}: {result.error}")
        if "Traceback" in verdict.end or "has no attribute" in verdict.end:
            verdict.troubles.append("the reason is none")

    def _restored(
        self, kept: dict[str, Original], options: dict[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """The results of a restore by backup; an error where it was refused."""
        from volflow.errors import VolflowError
        from volflow.results.options import RestoreOptions

        restores, how = self._volflow.restores, RestoreOptions(verify=True, **options)
        if not kept:
            return
        try:
            plan = restores.plan(list(kept), how)
        except VolflowError as error:
            if len(kept) == 1:
                yield next(iter(kept)), error
            else:
                # One refusal is that of all.
                for backup, original in kept.items():
                    yield from self._restored({backup: original}, options)
            return
        for volume in restores.run(plan).volumes:
            if volume.target_id:
                self._site.cloud.adopt(volume.target_id)
            (backup,) = [each for each, one in kept.items() if one.volume == volume.volume_id]
            yield backup, volume

    def _judge(self, where: str, original: Original, verdict: Verdict, result: Any) -> None:
        outcome = str(getattr(result, "outcome", "refused"))
        if outcome != "complete":
            why = getattr(result, "error", None) or str(result)
            self._refused(where, original, verdict, f"{outcome}: {why}")
            return
        told = {each["name"].removeprefix(_PREFIX) for each in result.differences}
        with self._site.cloud.attached(result.target_id) as device:
            self._compare(where, original, verdict, told, device)

    def _refused(self, where: str, original: Original, verdict: Verdict, why: str) -> None:
        """It is right only if the backup has said so."""
        verdict.end += f"; {where} {why}"
        if not original.unmounted:
            verdict.troubles.append(f"{where}: {why}")

    def _image(self, backup: str, original: Original, verdict: Verdict) -> None:
        from volflow.errors import VolflowError

        image = self._site.home / "image"
        try:
            told = self._volflow.backups.export(backup).to_image(image, verify=True)
        except VolflowError as error:
            self._refused("image", original, verdict, str(error))
            return
        self._compare("image", original, verdict, set(told), str(image))
        image.unlink()

    def _compare(
        self, where: str, original: Original, verdict: Verdict, told: set[str], device: str
    ) -> None:
        if verdict.image:
            if _checksum(device) != self._bytes.get(original.volume):
                verdict.troubles.append(f"{where}: the image has other bytes")
            return
        kind = original.variant.kind
        verdict.told |= told
        troubles = []
        try:
            if original.facts:
                now = facts(kind, device)
                troubles += [
                    *untold(original.facts, now, told),
                    *needless(original.facts, now, told),
                ]
            if complaint := sound(kind, device):
                troubles.append(complaint)
            # Files that the test could not write cannot be compared.
            if original.files:
                troubles += tree.differences(original.files, files_on(kind, device, self._place))
        except AssertionError as error:
            troubles.append(str(error))
        verdict.troubles += [f"{where}: {each}" for each in troubles[:10]]


def _checksum(device: str) -> str:
    with open(device, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
