"""Files that do not fit into a new file system are refused before they are copied."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from volflow.disk import capacity
from volflow.disk.capacity import Used
from volflow.errors import DiskError

MIB = 1024**2


def mounted(total: int, free: int, inodes: int = 1000, inodes_free: int = 989) -> Any:
    """A namespace where a file system of blocks of 1 MiB is mounted."""
    said = f"{MIB} {total} {free} {inodes} {inodes_free}\n"
    return cast(Any, SimpleNamespace(run=lambda *_: said))


def test_what_is_used_is_measured() -> None:
    namespace = mounted(1000, 900)
    assert capacity.used(namespace, Path("/m"), 7, fixed_inodes=True) == Used(100 * MIB, 11, 7)
    assert capacity.used(namespace, Path("/m"), 7, fixed_inodes=False).inodes == 0


@pytest.mark.parametrize(
    "needed", [Used(), Used(1000 * MIB, 1000, 990 * MIB), Used(1000 * MIB, 0, 0)]
)
def test_files_that_fit_are_not_refused(needed: Used) -> None:
    capacity.require(needed, mounted(1000, 990), Path("/m"))


def test_a_size_that_would_do_is_named() -> None:
    with pytest.raises(DiskError, match=r"need 1,001.0 MiB, .* has 1,000.0 MiB") as error:
        capacity.require(Used(1001 * MIB), mounted(1000, 990), Path("/m"))
    assert "A volume of 2 GiB would do: restore into one with --into and --grow" in str(error.value)


def test_shared_blocks_need_room_of_their_own() -> None:
    with pytest.raises(DiskError, match="files that shared blocks do not share them"):
        capacity.require(Used(300 * MIB, 0, 1200 * MIB), mounted(1000, 990), Path("/m"))


def test_files_beside_others_need_what_is_free() -> None:
    directories: list[str] = []

    def run(program: str, *_: Any) -> str:
        return "\n".join(directories) if program == "find" else f"{MIB} 1000 400 0 0\n"

    namespace = cast(Any, SimpleNamespace(run=run))
    capacity.require_beside(Used(0, 0, 400 * MIB), namespace, Path("/m"))
    needed = Used(300 * MIB, 0, 401 * MIB)
    with pytest.raises(DiskError, match=r"need 401.0 MiB, and the volume has 400.0 MiB free"):
        capacity.require_beside(needed, namespace, Path("/m"))
    # A directory that exists needs no more blocks.
    directories += ["1024", "1024"]
    capacity.require_beside(needed, namespace, Path("/m"))


def test_inodes_that_are_too_few_are_named() -> None:
    with pytest.raises(DiskError, match="need 3,000 inodes, and the new file system has 1,000"):
        capacity.require(Used(MIB, 3000), mounted(1000, 990), Path("/m"))
