"""Making a file system on a new volume, and on one that exists."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.rehearsals import Able
from tests.support.work import work_of
from volflow.cloud.marks import RESTORED
from volflow.disk.filesystem import FileSystem, probe
from volflow.disk.regions import Disk, whole
from volflow.disk.rehearsal import CannotCreateError, Fit
from volflow.errors import DiskError, HostError
from volflow.host.privilege import Privilege
from volflow.tasks.claim import Claim
from volflow.tasks.filesystem import MakeFileSystem, Probe, ProbeTarget
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.remarks import remarks
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.work import Work

MIB = 1024**2
UUID, LATER = "5ca1ab1e-0000-4000-8000-000000000001", "5ca1ab1e-0000-4000-8000-000000000002"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    found = tmp_path / "disk"
    with open(found, "wb") as file:
        file.truncate(400 * MIB)
    return found


@pytest.fixture
def work(state: State, cloud: FakeClient, disk: Path) -> Work:
    found = work_of(state, cloud, cloud.put())
    me = Privilege(helper="")
    host = cast(Any, found.services.host)
    host.privilege = me
    host.device_size = lambda path: disk.stat().st_size
    host.namespace = lambda: SimpleNamespace(run=me.run, close=lambda: None)
    return found


def mkfs(disk: Path, *options: str) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", *options, str(disk)], check=True)


def backed_up(tmp_path: Path, size: str = "") -> FileSystem:
    """A file system as in a backup."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(400 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-U", UUID, str(image), *size.split()], check=True)
    return probe(Privilege(helper=""), str(image))


def alone(file_system: FileSystem, mib: int = 400) -> Disk:
    """A volume of this size that the file system fills."""
    return whole(file_system, mib * MIB)


def new(work: Work, cloud: FakeClient) -> str:
    """A new volume of this restore."""
    volume_id = cloud.put(work.tag(RESTORED))
    step = NewVolume(work, cast(Any, None))
    step.intend()
    step.present(volume_id)
    return volume_id


def told(work: Work) -> tuple[str, ...]:
    return remarks(work.services.ledger, work.services.run_id, work.volume_id)


def test_a_new_volume_is_formatted_when_it_is_blank(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    step = MakeFileSystem(work, alone(backed_up(tmp_path)), new=True)
    step.execute(str(disk), new(work, cloud), "attachment")
    assert probe(Privilege(helper=""), str(disk)).uuid == UUID
    assert told(work) == ()


def test_what_is_on_a_new_volume_is_named_and_not_overwritten(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    mkfs(disk, "-U", LATER, "-L", "theirs")
    before = disk.read_bytes()
    # The same UUID as in the backup proves nothing: the source has it too.
    for uuid in (LATER, UUID):
        subprocess.run(["tune2fs", "-f", "-U", uuid, str(disk)], check=True, capture_output=True)
        before = disk.read_bytes()
        with pytest.raises(DiskError, match=f"has ext4 'theirs' with the UUID {uuid}"):
            MakeFileSystem(work, alone(backed_up(tmp_path)), new=True).execute(
                str(disk), new(work, cloud), "attachment"
            )
        assert disk.read_bytes() == before


def test_a_partition_table_is_not_blank(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    with open(disk, "r+b") as file:
        # One partition of Linux, and the signature of an MBR.
        file.seek(446)
        file.write(bytes.fromhex("00000000830000000008000000080000"))
        file.seek(510)
        file.write(b"\x55\xaa")
    with pytest.raises(DiskError, match=r"has a partition table \(dos\)"):
        MakeFileSystem(work, alone(backed_up(tmp_path)), new=True).execute(
            str(disk), new(work, cloud), "attachment"
        )


def test_a_resume_formats_again_what_its_run_has_formatted(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    volume_id = new(work, cloud)
    for _ in range(2):
        step = MakeFileSystem(work, alone(backed_up(tmp_path)), new=True)
        step.execute(str(disk), volume_id, "attachment")
    with pytest.raises(DiskError, match="should be blank"):
        MakeFileSystem(work, alone(backed_up(tmp_path)), new=True).execute(
            str(disk), "another-volume", "attachment"
        )


def test_a_restore_in_place_tells_of_another_file_system(
    state: State, work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    mkfs(disk, "-U", LATER)
    claim, safety = Claim(work, work.volume_id), SafetySnapshot(work)
    claim.execute()
    safety.execute(work.volume_id)
    for _ in range(2):
        # A resume finds what its run has made, and still tells.
        step = MakeFileSystem(work, alone(backed_up(tmp_path)), safety=safety)
        step.execute(str(disk), work.volume_id, "attachment")
        (remark,) = told(work)
        assert f"had ext4 with the UUID {LATER}, and the backup has ext4 with the UUID {UUID}" in (
            remark
        )
    assert all("remark" not in entry.kind for entry in state.ledger.open())


def test_another_volume_may_have_had_another_file_system(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    other = cloud.put()
    claim, safety = Claim(work, other), SafetySnapshot(work)
    claim.execute()
    safety.execute(other)
    step = MakeFileSystem(work, alone(backed_up(tmp_path)), safety=safety)
    step.execute(str(disk), other, "attachment")
    assert told(work) == ()


def test_a_file_system_fills_the_volume_only_on_request(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    for grow, size in ((False, 200 * MIB), (True, 400 * MIB)):
        step = MakeFileSystem(work, alone(backed_up(tmp_path, "200M")), grow=grow)
        volume_id = new(work, cloud)
        step.execute(str(disk), volume_id, "attachment")
        assert probe(Privilege(helper=""), str(disk)).size == size


def test_a_file_system_that_keeps_its_size_is_told(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    step = MakeFileSystem(work, alone(backed_up(tmp_path, "200M"), 200))
    step.execute(str(disk), new(work, cloud), "attachment")
    (remark,) = told(work)
    assert remark == (
        "the file system keeps its size of 200 MiB, and the volume has 400 MiB; --grow makes it "
        "fill the volume"
    )


class Unable(Able):
    """A host that lacks a feature, or cannot create the file system at all."""

    def __init__(self, lacks: str | Exception) -> None:
        self.lacks = lacks

    def fit(self, file_system: FileSystem, room: int) -> Fit:
        if isinstance(self.lacks, Exception):
            raise self.lacks
        return Fit(file_system.without([self.lacks]), {self.lacks: "nobody has it"})


def unable(work: Work, lacks: str | Exception) -> Work:
    services = replace(work.services, rehearsal=cast(Any, Unable(lacks)))
    return replace(work, services=services)


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("resize_inode", "a restore on this host leaves out 'resize_inode' (nobody has it)"),
        # Told after the mount, which can find more reasons.
        (CannotCreateError("No.", "no"), ""),
        (HostError("no loop device"), "is unknown: no loop device"),
    ],
    ids=["a feature", "all of it", "unknown"],
)
def test_a_backup_tells_what_this_host_could_not_create_again(
    work: Work, disk: Path, lacks: str | Exception, said: str
) -> None:
    mkfs(disk, "-U", UUID)
    found = Disk.from_dict(Probe(unable(work, lacks)).execute(str(disk)))
    assert said in "".join(told(work))
    (region,) = found.regions
    assert (region.is_image, region.why) == ((False, "") if said else (True, "No."))


def test_a_restore_tells_each_difference(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    wanted = backed_up(tmp_path)
    step = MakeFileSystem(unable(work, "resize_inode"), alone(wanted), new=True)
    made = step.execute(str(disk), new(work, cloud), "attachment")
    (region,) = Disk.from_dict(made).trees
    assert region.file_system
    assert region.file_system.features == tuple(
        name for name in wanted.features if name != "resize_inode"
    )
    told_of = {each["name"]: each for each in made["differences"]}
    assert set(told_of) == {"file system: Compatible features", "file system: Reserved GDT blocks"}
    features = told_of["file system: Compatible features"]
    assert set(features["was"].split()) - set(features["now"].split()) == {"resize_inode"}
    assert features["why"] == "'resize_inode' (nobody has it)"


def test_a_restore_tells_why_a_feature_of_xfs_is_missing(
    work: Work, cloud: FakeClient, disk: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    subprocess.run(["mkfs.xfs", "-q", "-d", f"file,name={image},size=400m"], check=True)
    wanted = probe(Privilege(helper=""), str(image))
    step = MakeFileSystem(unable(work, "reflink"), alone(wanted), new=True)
    made = step.execute(str(disk), new(work, cloud), "attachment")
    assert {each["name"]: each["why"] for each in made["differences"]} == {
        "file system: meta-data.reflink": "'reflink' (nobody has it)",
        "file system: superblock.features_ro_compat": "'reflink' (nobody has it)",
    }


def test_a_backup_tells_that_the_volume_was_formatted(
    work: Work, disk: Path, tmp_path: Path
) -> None:
    mkfs(disk, "-U", LATER)
    for last, number in ((LATER, 0), (UUID, 1)):
        services = replace(work.services, file_systems={work.volume_id: last})
        Probe(replace(work, services=services)).execute(str(disk))
        assert len(told(work)) == number
    assert f"has the UUID {LATER}, and that of the last backup has {UUID}" in told(work)[0]


def test_a_file_system_that_is_kept_in_a_larger_volume_is_told(
    work: Work, disk: Path, tmp_path: Path
) -> None:
    mkfs(disk, "-U", UUID)
    for size, number in ((400, 0), (800, 1)):
        with open(disk, "r+b") as file:
            file.truncate(size * MIB)
        ProbeTarget(work, None, backed_up(tmp_path)).execute(str(disk), "volume", "attachment")
        assert len(told(work)) == number
    assert told(work) == ("the file system keeps its size of 400 MiB, and the volume has 800 MiB",)
