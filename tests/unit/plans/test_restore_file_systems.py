"""A plan names the file systems that this host cannot create."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.rehearsals import Able
from volflow.disk.filesystem import FileSystem
from volflow.disk.regions import Disk
from volflow.disk.rehearsal import CannotCreateError, Fit, Rehearsal
from volflow.errors import HostError
from volflow.plans.restore_file_systems import rehearse
from volflow.plans.restore_target import Destination, RestoreTarget
from volflow.repositories.manifest import Region
from volflow.results.options import Overwrite, RestoreOptions

GIB = 1024**3


class Tried(Able):
    """Records the sizes that it tries, and answers as it is told.

    :ivar answer: what it raises, or the features that it leaves out
    """

    def __init__(self, answer: Exception | dict[str, str]) -> None:
        self.answer = answer
        self.sizes: list[int] = []

    def fit(self, file_system: FileSystem, room: int) -> Fit:
        self.sizes.append(room)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Fit(file_system, self.answer)


def target(
    destination: Destination = Destination.NEW, size: int = 0, volume_gib: int = 4
) -> RestoreTarget:
    """The target of a backup of a volume of 2 GiB."""
    parameters = {"Block size": "4096", "Block count": str(size // 4096)}
    region = Region("regions/0", 2 * GIB, FileSystem("ext4", "", parameters=parameters))
    volume = {"id": "v", "name": "data", "size": volume_gib}
    found = SimpleNamespace(
        manifest=SimpleNamespace(
            volume=volume,
            volume_id="v",
            regions=(region,),
            disk=Disk(None, (region.on_disk(0),)),
        ),
        backup=SimpleNamespace(id="b" * 64),
        destination=destination,
        existing=volume,
        created_size=lambda options: SimpleNamespace(gib=2),
    )
    return cast(RestoreTarget, found)


def tried(
    answer: Exception | dict[str, str], one: RestoreTarget, **options: Any
) -> tuple[Tried, tuple[Any, Any, Any]]:
    rehearsal = Tried(answer)
    found = rehearse(cast(Rehearsal, rehearsal), [one], RestoreOptions(**options))
    return rehearsal, found


@pytest.mark.parametrize(
    ("one", "options", "size"),
    [
        (target(), {}, 2 * GIB),
        (target(size=GIB), {}, GIB),
        (target(Destination.IN_PLACE), {}, 2 * GIB),
        (target(Destination.IN_PLACE), {"grow": True}, 4 * GIB),
    ],
    ids=["new", "smaller than its volume", "in place", "grown"],
)
def test_the_size_that_the_file_system_gets_is_tried(
    one: RestoreTarget, options: dict[str, Any], size: int
) -> None:
    rehearsal, found = tried({}, one, **options)
    assert rehearsal.sizes == [size]
    assert found == ([one], {}, [])


def test_what_is_left_out_is_noted() -> None:
    _, (_, _, notes) = tried({"quota": "the kernel has none"}, target())
    assert notes == ["The file system of data is created without 'quota' (the kernel has none)."]


def test_what_this_host_cannot_create_is_refused() -> None:
    _, (targets, refused, _) = tried(CannotCreateError("mkfs has no X.", "no X"), target())
    assert not targets
    assert str(refused["b" * 64]) == (
        "Backup bbbbbbbb of data: mkfs has no X. --to-path extracts its files."
    )


def test_a_host_where_nothing_can_be_tried_is_noted_once() -> None:
    rehearsal = Tried(HostError("no root"))
    both = [target(), target()]
    targets, refused, notes = rehearse(cast(Rehearsal, rehearsal), both, RestoreOptions())
    assert (targets, refused) == (both, {})
    assert notes == ["Whether this host can create the file systems is unknown: no root"]


def test_a_file_system_that_stays_is_not_tried() -> None:
    rehearsal, _ = tried({}, target(Destination.IN_PLACE), overwrite=Overwrite.NEVER)
    assert rehearsal.sizes == []
