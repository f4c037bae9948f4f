"""The way back of the data: from the repository to the mounted target."""

from __future__ import annotations

import json
import sys
from typing import Any

from volflow.disk import holes
from volflow.errors import HostError
from volflow.manifest import Manifest
from volflow.tasks.base import Step
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.mount import REGION
from volflow.tasks.work import Work


class RestoreData(Step):
    """Writes the backup's files to the target, with all their metadata and holes.

    There is no data to revert here: a new volume is deleted, and one that was there before goes
    back to its safety snapshot.
    """

    step = "copy"

    def __init__(
        self,
        work: Work,
        backup_id: str,
        manifest: Manifest,
        *,
        verify: bool = False,
        over: bool = False,
    ) -> None:
        """
        :param verify: compare what was written with what is stored
        :param over: what is there already stays where the backup has nothing newer
        """
        super().__init__(work)
        self._over = over
        self._backup_id, self._manifest, self._verify = backup_id, manifest, verify

    def execute(self) -> None:
        services, namespace = self.services, self.work.namespace
        if namespace is None:
            raise HostError("The volume is not mounted.")
        if not self._over:
            # What a process has written that was killed: restic trips over links that are there.
            region = str(namespace.root / REGION)
            namespace.run("find", region, "-xdev", "-mindepth", "1", "-delete")
        with RepositoryLock.watched(self.work):
            self.work.mover.restore(
                namespace,
                self._backup_id,
                verify=self._verify,
                progress=lambda copied: services.progress.copied(self.work.volume_id, copied),
                stopping=services.stopping,
            )
        namespace.run(
            *(sys.executable, "-I", "-S", holes.__file__, "shape", namespace.root / REGION),
            stdin=json.dumps(self._manifest.regions[0].sparse),
        )
        # Once this task has succeeded, a resumed run relies on it, even after a loss of power.
        namespace.run("sync", "--file-system", namespace.root / REGION)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
