"""A disk with a partition table comes back: its table, boot code, file systems and images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import guest_disk, tree
from tests.support.cloud import run
from tests.support.site import Site

pytestmark = pytest.mark.lab

SCRIPT = """
label: gpt
start=2048, size=250MiB, name="boot, with ext4"
size=400MiB, name=xfs
size=32MiB, type=swap
start=1435648, size=20MiB
size=200MiB, name=last
"""
CONTENT = {
    1: ("mkfs.ext4", "-qF"),
    2: ("mkfs.xfs", "-qf"),
    3: ("mkswap", "-L", "swap"),
    5: ("mkfs.ext4", "-qF", "-E", "nodiscard"),
}


def disk(site: Site, name: str = "disk") -> str:
    volume = site.cloud.create(size=1, name=name)
    with site.cloud.attached(volume) as device:
        guest_disk.make(device, SCRIPT, CONTENT)
        with open(device, "r+b") as file:
            file.write(os.urandom(440))
            file.seek(64 * 512)
            file.write(os.urandom(100_000))
        for number in (1, 2):
            guest_disk.fill(site.cloud, device, number, tree.make)
        guest_disk.fill(site.cloud, device, 5, lambda root: (root / "a").write_text("file"))
        with guest_disk.mapped(device, 4) as mapped:
            Path(mapped.paths[0]).write_bytes(os.urandom(3 * 1024**2))
    return volume


@pytest.fixture
def volume(site: Site) -> str:
    return disk(site)


def seen(site: Site, volume: str) -> guest_disk.Seen:
    with site.cloud.attached(volume) as device:
        return guest_disk.see(site.cloud, device)


def backed_up(site: Site, volume: str) -> dict[str, Any]:
    done = site.cli("backup", "create", volume, "-f", "json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    return dict(result)


def test_a_disk_comes_back_to_a_new_volume_and_in_place(site: Site, volume: str) -> None:
    before = seen(site, volume)
    assert len(before.parts) == 5
    result = backed_up(site, volume)
    assert result["remarks"] == [
        "stored as an image, not as files: partition 3 (swap); partition 4"
    ]
    new = site.restore(volume, new=True, verify=True).volumes[0]
    assert new.outcome == "complete", new.error
    assert new.differences == ()
    guest_disk.assert_same(before, seen(site, new.target_id))
    with site.cloud.attached(volume) as device:
        run("wipefs", "--all", "--quiet", device)
        with open(device, "r+b") as file:
            for place in range(0, 1024**3, 64 * 1024**2):
                file.seek(place)
                file.write(os.urandom(1024**2))
    again = site.restore(volume, verify=True).volumes[0]
    assert again.outcome == "complete", again.error
    guest_disk.assert_same(before, seen(site, volume))
    assert site.findings() == []


def test_an_increment_of_a_disk_stores_only_what_has_changed(site: Site, volume: str) -> None:
    backed_up(site, volume)
    with site.cloud.attached(volume) as device:
        guest_disk.fill(
            site.cloud, device, 2, lambda root: (root / "more").write_bytes(os.urandom(10_000))
        )
        with guest_disk.mapped(device, 4) as mapped, open(mapped.paths[0], "r+b") as file:
            file.seek(2 * 1024**2)
            file.write(os.urandom(1000))
    before = seen(site, volume)
    result = backed_up(site, volume)
    assert result["parent_id"]
    assert result["bytes_stored"] < 5 * 1024**2
    new = site.restore(volume, new=True, verify=True).volumes[0]
    guest_disk.assert_same(before, seen(site, new.target_id))


def test_the_last_partition_fills_a_larger_volume_on_request(site: Site, volume: str) -> None:
    before = seen(site, volume)
    backed_up(site, volume)
    for grow in (False, True):
        larger = site.cloud.create(size=2, name=f"larger {grow}")
        result = site.restore(volume, into=larger, grow=grow, verify=True).volumes[0]
        assert result.outcome == "complete", result.error
        with site.cloud.attached(larger) as device:
            assert "No errors detected" in run("sfdisk", "--verify", device)
            places = guest_disk.places(device)
            after = guest_disk.see(site.cloud, device)
        assert (places[5][1] > 1024**3) == grow
        for number, part in before.parts.items():
            if isinstance(part, str):
                assert part == after.parts[number]
            else:
                tree.assert_same(part, after.parts[number])


def test_a_disk_becomes_a_disk_image_and_single_files_come_back(
    site: Site, volume: str, tmp_path: Path
) -> None:
    before = seen(site, volume)
    backed_up(site, volume)
    image = tmp_path / "image"
    done = site.cli("restore", "create", volume, "--to-image", str(image), "--verify")
    assert done.returncode == 0, done.stderr
    guest_disk.assert_same(before, guest_disk.see(site.cloud, str(image)))
    out = tmp_path / "out"
    done = site.cli("backup", "extract", volume, "p5:/a", "--to", str(out))
    assert done.returncode == 0, done.stderr
    assert (out / "6" / "a").read_text() == "file"
    done = site.cli("backup", "ls", volume, "p2:/", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
