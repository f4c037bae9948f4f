"""Images through restic: what is stopped, killed or hostile leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import namespaces, repository, restic
from tests.support.saving import save
from tests.support.waiting import until
from volflow.disk import imaging, serving
from volflow.errors import HostError, RepositoryError, StoppedError
from volflow.movers.base import RawImage
from volflow.movers.restic.mover import ResticMover
from volflow.movers.restic.repository import ResticRepository
from volflow.results.outcome import CopyProgress

MIB = 2**20
# Zeros that nobody reads to the end, and those that are stored within seconds.
ENDLESS, LONG = 2**40, 1024 * MIB
PATH = Path("regions/1.img")


@pytest.fixture(autouse=True)
def _can_mount() -> None:
    if why := namespaces.missing():
        pytest.skip(why)


@pytest.fixture
def mover(tmp_path: Path) -> ResticMover:
    repository.make(tmp_path / "repository", "secret")
    return ResticMover(restic.program(tmp_path))


def sparse(path: Path, size: int) -> RawImage:
    with open(path, "wb") as file:
        file.truncate(size)
    return RawImage(PATH, str(path), 0, size)


def programs(tmp_path: Path) -> list[int]:
    """The programs of this package that run with something below a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                files = (serving.__file__, imaging.__file__)
                if any(os.fsencode(each) in line for each in files):
                    found += [int(entry.name)] * (os.fsencode(tmp_path) in line)
    return found


def backups(tmp_path: Path) -> int:
    return len(ResticRepository(restic.program(tmp_path)).backups())


def test_a_save_that_is_stopped_while_it_reads_leaves_nothing(
    mover: ResticMover, tmp_path: Path
) -> None:
    stopping = threading.Event()
    image = sparse(tmp_path / "device", ENDLESS)
    with namespaces.mounted(tmp_path, {}) as (namespace, root):

        def stop(copied: CopyProgress) -> None:
            if copied.bytes:
                stopping.set()

        with pytest.raises(StoppedError):
            save(mover, namespace, images=[image], stopping=stopping, progress=stop)
        assert os.listdir(root / "regions") == []
        assert programs(tmp_path) == []
    assert backups(tmp_path) == 0


def test_a_restore_and_a_comparison_stop_on_their_way(mover: ResticMover, tmp_path: Path) -> None:
    image = sparse(tmp_path / "device", LONG)
    with namespaces.mounted(tmp_path, {}) as (namespace, _):
        saved = save(mover, namespace, images=[image])
        seen: list[int] = []
        for act in ("restore_image", "compare_image"):
            stopping = threading.Event()

            def stop(copied: CopyProgress, stopping: threading.Event = stopping) -> None:
                stopping.set()
                seen.append(copied.bytes)

            blank = {"blank": True} if act == "restore_image" else {}
            with pytest.raises(StoppedError):
                getattr(mover, act)(
                    namespace, saved.id, image, progress=stop, stopping=stopping, **blank
                )
            assert programs(tmp_path) == []
    assert all(each < LONG for each in seen)


def test_what_cannot_show_images_any_more_is_no_partial_backup(
    mover: ResticMover, tmp_path: Path
) -> None:
    image = sparse(tmp_path / "device", ENDLESS)

    def kill(copied: CopyProgress) -> None:
        if copied.bytes:
            for pid in programs(tmp_path):
                os.kill(pid, signal.SIGKILL)

    with (
        namespaces.mounted(tmp_path, {}) as (namespace, root),
        pytest.raises(HostError, match="was ended"),
    ):
        save(mover, namespace, images=[image], progress=kill)
    with namespaces.mounted(tmp_path, {}) as (namespace, root):
        small = sparse(tmp_path / "small", MIB)
        assert save(mover, namespace, images=[small]).unread == ()
        assert os.listdir(root / "regions") == []


_KILLED = """
import sys
from pathlib import Path
from tests.support import namespaces, restic
from tests.support.saving import save
from volflow.movers.base import RawImage
from volflow.movers.restic.mover import ResticMover

directory, size = Path(sys.argv[1]), int(sys.argv[2])
image = RawImage(Path("regions/1.img"), str(directory / "device"), 0, size)
mover = ResticMover(restic.program(directory))
with namespaces.mounted(directory, {}) as (namespace, _):
    save(mover, namespace, images=[image], progress=lambda each: print(each.bytes, flush=True))
"""


def test_nothing_runs_when_volflow_was_killed(mover: ResticMover, tmp_path: Path) -> None:
    sparse(tmp_path / "device", ENDLESS)
    command = [sys.executable, "-c", _KILLED, str(tmp_path), str(ENDLESS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        until(lambda: int(process.stdout.readline()) > 0)  # type: ignore[union-attr]
        assert programs(tmp_path)
        process.kill()
    until(lambda: not programs(tmp_path))
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    mover._program.run("unlock", "--remove-all")
    assert backups(tmp_path) == 0


def test_a_stored_image_that_is_no_file_is_refused(mover: ResticMover, tmp_path: Path) -> None:
    """Whoever has the password can store what they like."""
    tree = tmp_path / "tree"
    (tree / PATH).mkdir(parents=True)
    (tree / "manifest.json").write_text("{}")
    told = mover._program.run("backup", "--json", str(tree / "regions"))
    snapshot = told.rpartition('"snapshot_id":"')[2][:8]
    device = sparse(tmp_path / "device", MIB)
    with namespaces.mounted(tmp_path, {}) as (namespace, _):
        for path in (str(tree / PATH).lstrip("/"), str(PATH), "regions/*.img"):
            image = RawImage(Path(path), device.device, 0, MIB)
            with pytest.raises(RepositoryError, match="has no image"):
                mover.restore_image(
                    namespace,
                    snapshot,
                    image,
                    blank=True,
                    progress=lambda _: None,
                    stopping=threading.Event(),
                )


def test_restic_itself_dumps_and_restores_an_image(mover: ResticMover, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB + 1) + bytes(MIB)
    (tmp_path / "device").write_bytes(b"O" * 5 + content)
    image = RawImage(PATH, str(tmp_path / "device"), 5, len(content))
    with namespaces.mounted(tmp_path, {}) as (namespace, _):
        saved = save(mover, namespace, images=[image])
    assert b"".join(mover._program.chunks("dump", saved.id, f"/{PATH}")) == content
    mover._program.run("restore", saved.id, "--target", str(tmp_path / "target"))
    assert (tmp_path / "target" / PATH).read_bytes() == content
    assert "no errors were found" in mover._program.run("check", "--read-data")


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    until(lambda: not programs(tmp_path))
