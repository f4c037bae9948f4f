"""A restore over existing files, of which some stay although the backup has them too."""

from __future__ import annotations

import base64
import json
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from volflow.disk import choosing, sparse
from volflow.disk.choosing import Choice
from volflow.host.namespace import MountNamespace
from volflow.observers.totals import Totals
from volflow.repositories.attributes import but_unread
from volflow.repositories.manifest import Manifest, Region
from volflow.results.options import Overwrite
from volflow.tasks.base import Step
from volflow.tasks.flags import CLEARING, flags_kept
from volflow.tasks.mount import mounted
from volflow.tasks.restore import RestoreData
from volflow.tasks.verify import Verify
from volflow.tasks.work import Work

# The program must not depend on installed packages or on the environment.
_CHOOSING = (sys.executable, "-I", "-S", choosing.__file__)


class ChooseFiles(Step):
    """Chooses which existing files stay. Makes nothing.

    It is a step of its own, because its result must not change once the copy has begun: a resumed
    run would take the files that an interrupted copy has written for files that were there before.
    """

    step = "choose files"
    default_provides = "choice"

    def __init__(
        self, work: Work, backup_id: str, manifest: Manifest, *, overwrite: Overwrite
    ) -> None:
        super().__init__(work)
        self._backup_id, self._manifest, self._overwrite = backup_id, manifest, overwrite

    def execute(self) -> dict[str, Any]:
        namespace = mounted(self.work)
        choices: dict[str, Choice] = {}
        for region in self._manifest.regions:
            listed = [
                choosing.entry(one.path, directory=one.directory, modified=one.modified)
                for one in self.work.mover.paths(self._backup_id, Path(region.path))
            ]
            place = namespace.root / region.path
            out = namespace.run(*_CHOOSING, place, str(self._overwrite), stdin="".join(listed))
            choices[region.path] = json.loads(out)
        files = sum(choice["files"] for choice in choices.values())
        return {"files": files, "choices": _packed(choices)}


class _Chosen:
    """What :class:`ChooseFiles` has chosen.

    :param choice: its result
    """

    def __init__(self, choice: dict[str, Any], overwrite: Overwrite) -> None:
        self._choices = _unpacked(choice["choices"])
        self._never = overwrite is Overwrite.NEVER
        self._roots = {
            path: frozenset(one["restored" if self._never else "kept"])
            for path, one in self._choices.items()
        }

    def restored(self, region: Region, path: str) -> bool:
        """Whether this path is as in the backup afterwards. The tree itself is an empty path."""
        roots = self._roots[region.path]
        while path and path not in roots:
            path = path.rpartition("/")[0]
        return bool(path) is self._never

    def paths(self, region: Region) -> tuple[list[Path], list[Path]]:
        """The paths of the backup to restore, and those below them that stay as they are."""
        place = Path(region.path)
        roots = [place / path for path in sorted(self._roots[region.path])]
        return (roots, []) if self._never else ([place], roots)

    def attributes(self, region: Region) -> tuple[list[str], bool]:
        """The paths of which flags and project ids are restored, or the only ones that are not."""
        roots = self._roots[region.path]
        if self._never:
            return list(roots), True
        unread, _ = but_unread(region)
        return [*roots, *unread], False

    def cleared(self, region: Region) -> list[str] | None:
        """What must not exist before the copy; None for every path that is restored."""
        return sorted(self._roots[region.path]) if self._never else None


class MergeData(RestoreData):
    """Writes those files of the backup to the target that :class:`ChooseFiles` has chosen.

    With ``never`` an existing directory stays as it is. With ``if-newer`` it gets the metadata of
    the backup, unless everything in it stays.

    :param keep_extra: keep the files that the backup does not have
    """

    def __init__(
        self,
        work: Work,
        backup_id: str,
        manifest: Manifest,
        *,
        overwrite: Overwrite,
        keep_extra: bool,
    ) -> None:
        super().__init__(work, backup_id, manifest, over=True)
        self._overwrite, self._keep_extra = overwrite, keep_extra

    def execute(self, choice: dict[str, Any]) -> dict[str, int]:  # type: ignore[override]
        namespace, chosen = mounted(self.work), _Chosen(choice, self._overwrite)
        regions: list[Region] = []
        paths, without = [], []
        self._files = 0
        with flags_kept(self.work, namespace, self._manifest.regions):
            for region in self._manifest.regions:
                regions.append(self._merged(namespace, region, chosen))
                more, less = chosen.paths(region)
                paths += more
                without += less
            return self._copy(namespace, regions, paths, without, chosen.attributes)

    def _figures(self, namespace: MountNamespace, totals: Totals) -> dict[str, int]:
        return {"files_new": self._files}

    def _merged(self, namespace: MountNamespace, region: Region, chosen: _Chosen) -> Region:
        """Remove what the backup's files replace, and what the backup does not have.

        :returns: the region with all sparse files that it must have after the restore
        """
        place, files = namespace.root / region.path, {}
        cleared = chosen.cleared(region)
        gone = [] if cleared is None else [f"f{path}\0" for path in cleared]
        # What the backup could not read is not extra.
        known = [f"s{path.strip('/')}\0" for path in region.unread]
        # A socket stays; one that is missing is made.
        known += [f"f{path}\0" for path in region.sockets]
        for path, directory, _ in self.work.mover.paths(self._backup_id, Path(region.path)):
            one = f"{'d' if directory else 'f'}{path}\0"
            known.append(one)
            if not chosen.restored(region, path):
                continue
            self._files += not directory
            if cleared is None:
                gone.append(one)
            if path in region.sparse:
                files[path] = region.sparse[path]
        self._clear(namespace, region, gone)
        if not self._keep_extra:
            namespace.run(*CLEARING, place, "extra", stdin="".join(known))
        return replace(region, sparse=sparse.find(namespace, place) | files)


class VerifyMerged(Verify):
    """Compares those files with the backup that were restored."""

    def __init__(
        self, work: Work, backup_id: str, manifest: Manifest, *, overwrite: Overwrite
    ) -> None:
        super().__init__(work, backup_id, manifest)
        self._overwrite = overwrite

    def execute(  # type: ignore[override]
        self, device: str, disk: dict[str, Any], choice: dict[str, Any]
    ) -> None:
        chosen = _Chosen(choice, self._overwrite)
        self._compare(device, disk, chosen.restored)


def _packed(choices: dict[str, Choice]) -> str:
    """As a short text: there can be as many paths as the volume has files."""
    return base64.b64encode(zlib.compress(json.dumps(choices).encode())).decode()


def _unpacked(text: str) -> dict[str, Choice]:
    found: dict[str, Choice] = json.loads(zlib.decompress(base64.b64decode(text)))
    return found
