"""What the storage of a repository has, whatever restic's cache has."""

from __future__ import annotations

import json

from volflow.movers.restic.program import ResticProgram


def missing(program: ResticProgram, *snapshot_ids: str) -> list[str]:
    """Which of these snapshots the storage does not have, or not in a form that can be read.

    :param snapshot_ids: ids, or beginnings of them
    :raises RepositoryError: this cannot be determined
    """
    options = ("--json", "--no-lock", "--no-cache")
    # restic only warns of a snapshot that it cannot read, and leaves it out.
    found = json.loads(program.run("snapshots", *options, *snapshot_ids)) or []
    there = [snapshot["id"] for snapshot in found]
    return [one for one in snapshot_ids if not any(full.startswith(one) for full in there)]
