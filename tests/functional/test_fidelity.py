"""A restored volume equals the one that was backed up: files, metadata, file system."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree
from tests.support.cloud import run
from tests.support.site import Site

pytestmark = pytest.mark.lab

UUID = {
    "ext4": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "xfs": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
}
LABEL = {"ext4": "ext4 of tests", "xfs": "xfs tests"}


def _options(kind: str) -> list[str]:
    if kind == "xfs":
        return ["-L", LABEL[kind], "-m", f"uuid={UUID[kind]},rmapbt=1", "-i", "size=1024"]
    return [
        *("-L", LABEL[kind], "-U", UUID[kind], "-b", "1024", "-I", "512", "-N", "20000"),
        *("-m", "2", "-O", "^has_journal,inline_data,metadata_csum_seed"),
    ]


def _file_system(kind: str, device: str) -> dict[str, str]:
    """What the file system's own tools report, without values that change with every mount."""
    found = {
        name: run("blkid", "--probe", "--output", "value", "--match-tag", name, device).strip()
        for name in ("TYPE", "UUID", "LABEL")
    }
    if kind == "ext4":
        text = run("dumpe2fs", "-h", device)
        wanted = (
            "Filesystem features|Block size|Inode size|Block count|"
            "Filesystem revision #|Default mount options"
        )
        told = dict(re.findall(rf"^({wanted}):\s+(.*)$", text, re.MULTILINE))
        told["Filesystem features"] = " ".join(sorted(told["Filesystem features"].split()))
        return found | told
    text = run("xfs_db", "-r", "-c", "info", device)
    wanted = "isize|crc|finobt|sparse|rmapbt|reflink|bigtime|inobtcount|ftype"
    return found | dict(re.findall(rf"\b({wanted})=(\d+)", text))


@pytest.fixture(params=["ext4", "xfs"], scope="module")
def original(request: pytest.FixtureRequest, shared_site: Site) -> dict[str, Any]:
    """A volume with every odd kind of file, its description, and its backup."""
    site, kind = shared_site, request.param
    volume = site.cloud.create(name=f"odd {kind}")

    def fill(root: Path) -> tree.Tree:
        tree.make(root)
        os.sync()
        return tree.describe(root)

    site.cloud.fill(volume, kind, fill, *_options(kind))
    # Described in a separate mount, from what is on the disk.
    with site.cloud.attached(volume) as device:
        described = site.cloud.mounted(device, tree.describe, read_only=True)
        file_system = _file_system(kind, device)
    result = site.backup(volume)
    assert str(result.outcome) == "complete", result
    assert result.volumes[0].unread == ()
    return {
        "kind": kind,
        "volume": volume,
        "tree": described,
        "file system": file_system,
        "backup": result.volumes[0].backup_id,
    }


def _compare(site: Site, original: dict[str, Any], volume: str) -> None:
    with site.cloud.attached(volume) as device:
        restored = site.cloud.mounted(device, tree.describe, read_only=True)
        tree.assert_same(original["tree"], restored)
        assert _file_system(original["kind"], device) == original["file system"]
        if original["kind"] == "ext4":
            run("e2fsck", "-f", "-n", device)
        else:
            run("xfs_repair", "-n", device)


def test_the_tree_holds_what_it_should(original: dict[str, Any]) -> None:
    """The other tests would prove nothing with a simple tree."""
    entries = original["tree"].values()
    assert {entry.kind for entry in entries} == set("-dlpcb")
    names = {name for entry in entries for name in entry.xattrs}
    assert {name.split(".")[0] for name in names} == {"user", "trusted", "security", "system"}
    assert any(entry.mtime % 1000 for entry in entries)
    assert any(entry.links > 1 and entry.kind == "-" for entry in entries)
    assert any(entry.mode & 0o6000 for entry in entries)
    only_hole = original["tree"][b"sparse/hole only"]
    assert (only_hole.size, only_hole.data) == (40 * tree.MIB, ())
    assert len(original["tree"][b"sparse/many"].data) == 8
    assert original["file system"]["UUID"] == UUID[original["kind"]]
    assert original["file system"]["LABEL"] == LABEL[original["kind"]]


def test_a_new_volume_holds_the_same_tree(shared_site: Site, original: dict[str, Any]) -> None:
    result = shared_site.restore(original["backup"], new=True)
    assert str(result.outcome) == "complete", result
    _compare(shared_site, original, result.volumes[0].target_id)


def test_a_volume_restored_in_place_holds_the_same_tree(
    shared_site: Site, original: dict[str, Any]
) -> None:
    """Deleted files come back, changed files change back, and newer files are removed."""

    def spoil(root: Path) -> None:
        (root / "came later").mkdir()
        (root / "came later" / "file").write_text("not in the backup\n")
        (root / "text").unlink()
        (root / "text").mkdir()
        (root / "many" / "007").write_text("changed\n")
        (root / "modes" / "0644").chmod(0o600)
        os.unlink(root / "special" / "fifo")
        os.chmod(root, 0o700)
        os.truncate(root / "sparse" / "hole only", 0)

    shared_site.cloud.on(original["volume"], spoil)
    result = shared_site.restore(original["backup"])
    assert str(result.outcome) == "complete", result
    assert result.volumes[0].target_id == original["volume"]
    _compare(shared_site, original, original["volume"])


def test_a_volume_of_another_file_system_holds_the_same_tree(
    shared_site: Site, original: dict[str, Any]
) -> None:
    """The content of a larger target is replaced; its own properties stay."""
    other = {"ext4": "xfs", "xfs": "ext4"}[original["kind"]]
    target = shared_site.cloud.create(2, name=f"target of {original['kind']}")
    shared_site.cloud.fill(target, other, lambda root: (root / "former").write_text("former\n"))
    before = shared_site.cloud.show(target)
    result = shared_site.restore(original["backup"], into=target)
    assert str(result.outcome) == "complete", result
    restored = shared_site.cloud.on(target, tree.describe, read_only=True)
    tree.assert_same(original["tree"], restored)
    after = shared_site.cloud.show(target)
    assert {k: v for k, v in after.items() if k != "updated_at"} == {
        k: v for k, v in before.items() if k != "updated_at"
    }
