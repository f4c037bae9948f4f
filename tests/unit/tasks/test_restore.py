"""What a restore over existing files does to files that the backup does not have."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from volflow.disk.filesystem import FileSystem
from volflow.disk.holes import Sparse
from volflow.host.privilege import Privilege
from volflow.movers.base import StoredPath
from volflow.repositories.manifest import Manifest, Region
from volflow.tasks.restore import RestoreData
from volflow.tasks.work import Work

SPARSE: dict[str, Sparse] = {
    "stored": {"size": 2**20, "data": []},
    "unread": {"size": 2**20, "data": []},
}
REGION = Region("regions/0", 2**30, FileSystem("ext4", ""), SPARSE, ("/unread",))


def test_what_could_not_be_read_keeps_what_it_has(tmp_path: Path) -> None:
    """Punching the holes of the backup would destroy data that was written since."""
    place = tmp_path / REGION.path
    place.mkdir(parents=True)
    for name in SPARSE:
        (place / name).write_bytes(os.urandom(2**20))
    mover = SimpleNamespace(
        paths=lambda *_: [StoredPath("", True, 0), StoredPath("stored", False, 0)]
    )
    work = Work(cast(Any, None), "v", cast(Any, None), cast(Any, None), cast(Any, mover))
    manifest = Manifest("r", {"id": "v"}, {}, {}, {}, {}, (REGION,))
    me = Privilege(helper="")
    namespace = SimpleNamespace(root=tmp_path, run=me.run, records=me.records)
    step = RestoreData(work, "b", manifest, over=True)
    region = step._make_room(cast(Any, namespace), REGION)
    assert region.sparse == {"stored": SPARSE["stored"]}
    assert not (place / "stored").exists()
    assert step.unread == ("/unread",)
