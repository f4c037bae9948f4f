"""Directories get their flags back after a restore over them, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import State
from volflow.disk import clearing
from volflow.disk.filesystem import FileSystem
from volflow.host.privilege import Privilege
from volflow.repositories.manifest import Region
from volflow.tasks.flags import flags_kept, tell_replaced
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

IMMUTABLE = 0x10
REGION = Region("regions/0", 2**30, FileSystem("ext4", ""))


class Place:
    """A tree with an immutable directory, and the run that restores over it."""

    def __init__(self, root: Path, state: State) -> None:
        self.tree = root / REGION.path
        (self.tree / "dir").mkdir(parents=True)
        if subprocess.run(["chattr", "+i", self.tree / "dir"], check=False).returncode:
            pytest.skip("this file system has no such flags")
        run = state.runs.create("restore", {}, [("v", "n")], host="h", boot_id="b", pid=1)
        services = SimpleNamespace(run_id=run.id, ledger=state.ledger)
        me = Privilege(helper="")
        self.namespace = cast(Any, SimpleNamespace(root=root, run=me.run))
        self.work = Work(cast(Any, services), "v", *[cast(Any, None)] * 3)

    def kept(self) -> Any:
        return flags_kept(self.work, self.namespace, [REGION])

    def fail(self) -> None:
        with self.kept():
            self.lift()
            raise RuntimeError

    def lift(self) -> None:
        clearing.clear(str(self.tree), [("dir", True)])
        (self.tree / "dir/new").write_text("")

    @property
    def flags(self) -> dict[str, int]:
        return clearing.flags(str(self.tree))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    if os.geteuid():
        pytest.skip("only root can set flags")
    with State.open(f"sqlite:///{tmp_path}/state.sqlite", migrate=True) as state:
        found = Place(tmp_path / "root", state)
        yield found
        subprocess.run(["chattr", "-R", "-ia", found.tree], check=False, capture_output=True)
        assert state.ledger.open() == []


def test_flags_are_set_again_after_a_copy_and_after_a_failed_one(place: Place) -> None:
    with place.kept():
        place.lift()
        assert place.flags == {}
    assert place.flags == {"dir": IMMUTABLE}
    with pytest.raises(RuntimeError):
        place.fail()
    assert place.flags == {"dir": IMMUTABLE}
    assert Remark.FLAGS.read(place.work) is None


def test_a_resumed_run_sets_what_a_killed_process_has_lifted(place: Place) -> None:
    killed = place.kept()
    killed.__enter__()
    place.lift()
    with place.kept():
        assert place.flags == {}
    assert place.flags == {"dir": IMMUTABLE}


def test_directories_without_their_flags_are_remarked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.kept():
        place.lift()
        tell_replaced(place.work, ["/file"])
        run = place.namespace.run
        answer = '{"dir": "Operation not permitted"}'
        place.namespace.run = lambda *a, **k: answer if "set" in a else run(*a, **k)
    said = Remark.FLAGS.read(place.work) or ""
    assert said.startswith("Restored without the flags immutable and append-only")
    assert "/file. Directories" in said
    assert "/dir (Operation not permitted)" in said
