"""A restore over existing files writes what was chosen before it began."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from volflow.disk.filesystem import FileSystem
from volflow.host.privilege import Privilege
from volflow.movers.base import StoredPath
from volflow.repositories.manifest import Manifest, Region
from volflow.results.options import Overwrite
from volflow.tasks.merge import ChooseFiles, MergeData
from volflow.tasks.work import Work

REGION = Region("regions/0", 2**30, FileSystem("ext4", ""), {}, ("/unread",))
MANIFEST = Manifest("r", {"id": "v"}, {}, {}, {}, {}, (REGION,))
PATHS = [
    StoredPath("", True, 0),
    StoredPath("there", False, 10**6),
    StoredPath("missing", False, 10**6),
]


def _work(tmp_path: Path) -> Work:
    me = Privilege(helper="")
    mover = SimpleNamespace(paths=lambda *_: list(PATHS))
    ledger = SimpleNamespace(find=lambda tag: None)
    services = SimpleNamespace(run_id="r", ledger=ledger)
    work = Work(cast(Any, services), "v", cast(Any, None), cast(Any, None), cast(Any, mover))
    namespace = SimpleNamespace(root=tmp_path, run=me.run, records=me.records)
    work.namespace = cast(Any, namespace)
    return work


@pytest.mark.parametrize("overwrite", [Overwrite.IF_NEWER, Overwrite.NEVER])
def test_what_an_interrupted_copy_has_written_does_not_count_as_existing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: Overwrite
) -> None:
    place = tmp_path / REGION.path
    place.mkdir(parents=True)
    for name in ("there", "extra", "unread"):
        (place / name).write_text("of the volume")
    work = _work(tmp_path)
    choice = ChooseFiles(work, "b", MANIFEST, overwrite=overwrite).execute()
    assert choice["files"] == 1
    # An interrupted copy has left half a file, which is newer than the backup.
    (place / "missing").write_text("half a fi")
    written: list[tuple[list[Path], list[Path]]] = []
    monkeypatch.setattr(
        MergeData,
        "_copy",
        lambda self, namespace, regions, paths, without, _: written.append((paths, without)),
    )
    copy = MergeData(work, "b", MANIFEST, overwrite=overwrite, keep_extra=False)
    copy.execute(choice)
    assert sorted(path.name for path in place.iterdir()) == ["there", "unread"]
    place = Path(REGION.path)
    expected = (
        ([place], [place / "there"])
        if overwrite is Overwrite.IF_NEWER
        else ([place / "missing"], [])
    )
    assert written == [expected]


def test_nothing_but_what_the_backup_has_is_removed_with_keep_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / REGION.path
    place.mkdir(parents=True)
    for name in ("there", "extra"):
        (place / name).write_text("of the volume")
    work = _work(tmp_path)
    choice = ChooseFiles(work, "b", MANIFEST, overwrite=Overwrite.NEVER).execute()
    monkeypatch.setattr(MergeData, "_copy", lambda *_: None)
    MergeData(work, "b", MANIFEST, overwrite=Overwrite.NEVER, keep_extra=True).execute(choice)
    assert sorted(path.name for path in place.iterdir()) == ["extra", "there"]
