"""What a restore over the files that are there does to those that the backup does not have."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from volflow.disk.filesystem import FileSystem
from volflow.disk.holes import Sparse
from volflow.manifest import Manifest, Region
from volflow.tasks.restore import RestoreData
from volflow.tasks.work import Work

SPARSE: dict[str, Sparse] = {
    "stored": {"size": 2**20, "data": []},
    "unread": {"size": 2**20, "data": []},
}
REGION = Region("regions/0", 2**30, FileSystem("ext4", ""), SPARSE, ("/unread",))


def _run(*command: str | Path, stdin: str | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), input=stdin or "", capture_output=True, text=True, check=True
    )
    return done.stdout


def test_what_could_not_be_read_keeps_what_it_has(tmp_path: Path) -> None:
    """The holes that it had at the backup would be made into what was written since."""
    place = tmp_path / REGION.path
    place.mkdir(parents=True)
    for name in SPARSE:
        (place / name).write_bytes(os.urandom(2**20))
    mover = SimpleNamespace(paths=lambda *_: [("", True), ("stored", False)])
    work = Work(cast(Any, None), "v", cast(Any, None), cast(Any, mover))
    manifest = Manifest("r", {"id": "v"}, {}, {}, {}, {}, (REGION,))
    step = RestoreData(work, "b", manifest, over=True)
    files = step._make_room(cast(Any, SimpleNamespace(root=tmp_path, run=_run)))
    assert files == {"stored": SPARSE["stored"]}
    assert not (place / "stored").exists()
    assert step.unread == ("/unread",)
