"""The flags, project ids and birth times of a backup's files, beside their data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from volflow.disk import attributed
from volflow.disk.attributed import Applied
from volflow.host.namespace import MountNamespace
from volflow.movers.base import ATTRIBUTES
from volflow.printable import bounded
from volflow.repositories.manifest import Region

# The number of paths to name, and characters of one.
_SHOWN, _LONGEST = 5, 300
#: Returns paths in a region, and whether only these are restored, or everything but these.
Chosen = Callable[[Region], tuple[list[str], bool]]


def file_of(region: Region) -> Path:
    """The path in a backup of the file with the attributes of a region."""
    return ATTRIBUTES / Path(region.path).name


def but_unread(region: Region) -> tuple[list[str], bool]:
    """Everything of a region but what is not in the backup: see :data:`Chosen`."""
    return [path.strip("/") for path in region.unread if path.strip("/")], False


class Kept:
    """The attributes of the regions of a backup, while a restore writes these.

    :param regions: as the manifest describes them; those without attributes are ignored
    """

    def __init__(self, namespace: MountNamespace, regions: Sequence[Region]) -> None:
        self._namespace = namespace
        self._regions = [region for region in regions if region.attributes]

    def lift(self) -> None:
        """Take off what a killed process has set, so that everything can be removed."""
        for region in self._regions:
            attributed.lift(self._namespace, self._namespace.root / region.path)

    def paths(self) -> list[Path]:
        """What to restore beside the regions. It goes into memory."""
        if self._regions:
            attributed.receive(self._namespace, self._namespace.root / ATTRIBUTES)
        return [file_of(region) for region in self._regions]

    def apply(self, chosen: Chosen = but_unread, *, exact: bool = False) -> list[Applied]:
        """Set flags and project ids, as the last change of the regions.

        :param chosen: which paths of a region were restored
        :param exact: also take them off restored files that had none
        :returns: what could not be set
        :raises HostError: the backup's description of them is damaged
        """
        done = []
        for region in self._regions:
            roots, only = chosen(region)
            tree = self._namespace.root / region.path
            source = self._namespace.root / file_of(region)
            done.append(
                attributed.apply(self._namespace, tree, source, roots, only=only, exact=exact)
            )
        return done


def not_set(applied: Sequence[Applied]) -> str:
    """What a person is told of what could not be set; empty if everything was."""
    failed = sum(one.failed for one in applied)
    if not failed:
        return ""
    troubles = [(path, why) for one in applied for path, why in one.troubles.items()][:_SHOWN]
    shown = [f"/{bounded(path, _LONGEST)} ({why})" for path, why in troubles]
    more = f" and {failed - len(shown):,} more" if failed > len(shown) else ""
    return f"Restored without some of their flags or project ids: {', '.join(shown)}{more}."
