"""Once a day, removes what killed processes and deleted volumes have left."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from volflow.movers.native.store import Store

LOG = logging.getLogger(__name__)

_DAY = 24 * 3600.0
# A map that no backup has used for so long is of a volume that is gone; it only saves time.
_UNUSED = 90 * _DAY


def daily(maps: Path, store: Store) -> None:
    """Do it, unless that was done in the last 24 hours. What cannot be removed stays.

    A repository can have hundreds of thousands of packs: looking for temporary files among them for
    every volume would cost more than a backup of which nothing has changed.

    :param maps: the directory with the maps of all volumes
    :param store: the repository, locked
    """
    done = maps / f".cleaned-{store.id[:16]}"
    try:
        if done.exists() and time.time() - done.stat().st_mtime < _DAY:
            return
        maps.mkdir(mode=0o700, parents=True, exist_ok=True)
        done.touch()
        store.directory.clean()
        for each in maps.iterdir():
            if each.is_dir() and time.time() - each.stat().st_mtime > _UNUSED:
                shutil.rmtree(each)
    except OSError as error:
        LOG.debug("Not everything that is old was removed: %s", error)
