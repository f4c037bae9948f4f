"""The flags of existing directories (``chattr +i``, ``+a``) while a restore writes into them.

They are lifted before the copy and set again after it, on those directories that stay. A process
that was killed in between has lifted them: so they are recorded first.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from volflow.disk import clearing, durable
from volflow.errors import VolflowError
from volflow.host.namespace import MountNamespace
from volflow.host.program import undisturbed
from volflow.repositories.manifest import Region
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# The program must not depend on installed packages or on the environment.
CLEARING = (sys.executable, "-I", "-S", clearing.__file__)
_KIND = "directory flags"
# The number of paths to name.
_NAMED = 10


@contextmanager
def flags_kept(work: Work, namespace: MountNamespace, regions: Sequence[Region]) -> Iterator[None]:
    """Set the flags of directories again that the block lifts, whether or not it fails.

    A remark names the directories of which the flags could not be set.

    :raises HostError: the flags cannot be read
    """
    wanted = _recorded(work, namespace, regions)
    try:
        yield
    except BaseException:
        try:
            _set_again(namespace, wanted)
        except VolflowError:
            # A restore that fails puts back the whole volume, or deletes it.
            LOG.warning("The flags of directories could not be set again", exc_info=True)
        raise
    if troubles := _set_again(namespace, wanted):
        _add(
            work,
            "Directories that were immutable or append-only are not any more, because their flags "
            f"could not be set again: {_named(troubles)}. Set them with chattr in the guest.",
        )


def tell_replaced(work: Work, paths: Sequence[str]) -> None:
    """Remark that files had these flags which the restored ones do not have.

    :param paths: in the volume
    """
    if paths:
        _add(
            work,
            "Restored without the flags immutable and append-only, which a backup does not have "
            f"and which were set on the volume: {_named(paths)}.",
        )


def _recorded(
    work: Work, namespace: MountNamespace, regions: Sequence[Region]
) -> dict[str, dict[str, int]]:
    """The flags of directories by region and path, as they were before this restore began."""
    entry = work.services.ledger.find(work.tag(_KIND))
    found = {
        region.path: json.loads(namespace.run(*CLEARING, namespace.root / region.path, "flags"))
        for region in regions
    }
    for path, before in (entry.details["flags"] if entry else {}).items():
        found[path] = {**found.get(path, {}), **before}
    if any(found.values()):
        work.record(_KIND, flags=found)
    return found


def _set_again(namespace: MountNamespace, wanted: dict[str, dict[str, int]]) -> list[str]:
    """Set the flags; returns the paths where it could not, each with the reason."""
    troubles: list[str] = []
    with undisturbed():
        for path, flags in wanted.items():
            if flags:
                place = namespace.root / path
                said = namespace.run(*CLEARING, place, "set", stdin=json.dumps(flags))
                troubles += [f"/{one} ({why})" for one, why in json.loads(said).items()]
                durable.settle(namespace, place)
    return troubles


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return f"{', '.join(paths[:_NAMED])}{more}"


def _add(work: Work, text: str) -> None:
    """Add to what is remarked; a process that was killed may have said the first part."""
    before = Remark.FLAGS.read(work)
    if before is None or text not in before:
        Remark.FLAGS.of(work, f"{before} {text}" if before else text)
