"""The manifest reads back as it was written, and damage is an error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from volflow.disk.capacity import Used
from volflow.disk.filesystem import FileSystem
from volflow.disk.layout import Layout, Part, Role
from volflow.disk.signatures import Content
from volflow.errors import RepositoryError, UsageError
from volflow.repositories.manifest import FORMAT, Manifest, Region, region_path

VOLUME_ID = str(UUID(int=1))
EXT4 = {"type": "ext4", "uuid": ""}
REGION = {"path": "regions/0", "size": 1, "file_system": EXT4}


@pytest.fixture
def manifest() -> Manifest:
    region = Region(
        path="regions/0",
        size=2**30,
        file_system=FileSystem("ext4", "uuid", "ä label", {"Block size": "4096"}, "raw"),
        used=Used(10, 11, 12),
        sparse={"odd\udcff\nname": {"size": 10, "data": [[0, 5]]}},
    )
    return Manifest(
        run_id="run",
        volume={
            "id": VOLUME_ID,
            "name": "n",
            "size": 5,
            "metadata": {"a": "b"},
            "volume_type": "fast",
            "availability_zone": "here",
        },
        volume_type={"extra_specs": {}},
        encryption={},
        group={},
        snapshot={"size": 3, "created_at": "2026-01-01T00:00:00"},
        regions=(region,),
    )


def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_manifest_is_compact_and_earlier_ones_are_read(manifest: Manifest) -> None:
    text = manifest.to_json()
    assert "\n" not in text
    assert ": " not in text.replace('": ', "")
    earlier = json.dumps(json.loads(text), indent=1, sort_keys=True)
    assert Manifest.from_json(earlier) == manifest


def test_a_manifest_is_plain_ascii(manifest: Manifest) -> None:
    """This includes names that are not UTF-8."""
    manifest.to_json().encode("ascii")


def test_a_manifest_names_the_files_that_are_missing(manifest: Manifest) -> None:
    assert manifest.unread == ()
    torn = manifest.without(["/a", "/b"])
    assert torn.unread == ("/a", "/b")
    assert Manifest.from_json(torn.to_json()) == torn


def test_a_manifest_without_unread_files_is_read(manifest: Manifest) -> None:
    values = json.loads(manifest.to_json())
    for region in values["regions"]:
        del region["unread"]
    assert Manifest.from_json(json.dumps(values)) == manifest


def test_a_manifest_of_the_first_format_is_read(manifest: Manifest) -> None:
    values = json.loads(manifest.to_json()) | {"format": 1}
    for region in values["regions"]:
        del region["used"]
        region["file_system"] = {
            "type": "ext4",
            "uuid": "uuid",
            "label": "",
            "parameters": {"features": "has_journal,extent", "block_size": "1024", "size": "4096"},
        }
    (region,) = Manifest.from_json(json.dumps(values)).regions
    assert region.file_system.size == 4096
    assert region.file_system.features == ("has_journal", "extent")
    assert region.used == Used()


def test_the_size_is_that_of_the_snapshot(manifest: Manifest) -> None:
    assert manifest.size_gib == 3
    assert manifest.volume_id == VOLUME_ID


def _changed(manifest: Manifest, **changes: Any) -> str:
    return json.dumps(json.loads(manifest.to_json()) | changes)


def test_a_newer_format_is_refused(manifest: Manifest) -> None:
    with pytest.raises(RepositoryError, match=r"has format 99; .* reads 1, 2 and 3.*newer"):
        Manifest.from_json(_changed(manifest, format=99))
    assert FORMAT == 3


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '"text"', '{"format": 2}', '{"format": 2, "regions": [{}]}'],
)
def test_a_damaged_manifest_is_refused(text: str) -> None:
    with pytest.raises(RepositoryError, match="manifest is damaged"):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"volume": {"id": "../../etc"}},
        {"regions": None},
        {"regions": [{"path": "x"}]},
        {"regions": [{**REGION, "used": {"bytes": "many"}}]},
        {"regions": [{**REGION, "file_system": {**EXT4, "parameters": {"Block count": "many"}}}]},
        {"regions": [{**REGION, "file_system": {**EXT4, "parameters": None}}]},
        {"regions": [{"path": "x", "size": 1, "file_system": {"type": "ext4"}, "y": 1}]},
    ],
    ids=str,
)
def test_a_manifest_with_a_damaged_part_is_refused(
    manifest: Manifest, change: dict[str, Any]
) -> None:
    with pytest.raises(RepositoryError, match="manifest is damaged"):
        Manifest.from_json(_changed(manifest, **change))


@pytest.mark.parametrize(
    "changes",
    [
        {"volume": {"id": VOLUME_ID, "name": "n", "size": 5, "metadata": {}}},
        {"snapshot": {"size": "x", "created_at": "then"}},
        {"snapshot": {"size": 3, "created_at": {}}},
        {"snapshot": []},
        {"regions": []},
        {"group": {"id": VOLUME_ID, "name": "g"}},
        {"group_type": None},
    ],
    ids=str,
)
def test_a_manifest_without_a_field_that_a_plan_reads_is_refused(
    manifest: Manifest, changes: dict[str, Any]
) -> None:
    """Such a backup must not end a restore of all."""
    with pytest.raises(RepositoryError, match="manifest is damaged"):
        Manifest.from_json(_changed(manifest, **changes))


def test_the_root_of_a_volume_is_its_region_or_holds_its_regions(manifest: Manifest) -> None:
    assert manifest.root == Path("regions/0")
    assert manifest.in_volume("regions/0/etc/hosts") == "/etc/hosts"
    (region,) = manifest.regions
    two = replace(manifest, regions=(region, replace(region, path=str(region_path(1)))))
    assert two.root == Path("regions")
    assert two.in_volume("regions/1/etc/hosts") == "/1/etc/hosts"
    torn = two.without(["/1/a", "/0/b", "a name without a path"])
    assert [each.unread for each in torn.regions] == [("/b", "a name without a path"), ("/a",)]
    assert torn.unread == ("/0/b", "a name without a path", "/1/a")


@pytest.mark.parametrize(
    "path", ["/etc", "../../etc", "regions/0/../../..", "regions/1", "regions", "", "."]
)
def test_a_region_with_another_path_than_volflow_chooses_is_refused(
    manifest: Manifest, path: str
) -> None:
    """A volume is mounted there, and anyone with the password can write any path."""
    values = json.loads(manifest.to_json())
    values["regions"][0]["path"] = path
    with pytest.raises(RepositoryError, match="manifest is damaged"):
        Manifest.from_json(json.dumps(values))


def test_what_could_not_be_read_is_found_by_path(manifest: Manifest) -> None:
    torn = manifest.without(["/lost/", "/many/one", "a name without a path"])

    assert torn.unread_of(["/"]) == torn.unread
    assert torn.unread_of(["/many"]) == ("/many/one", "a name without a path")
    assert torn.unread_of(["lost/file", "/other"]) == ("/lost/", "a name without a path")
    assert manifest.unread_of(["/"]) == ()


@pytest.fixture
def disk(manifest: Manifest) -> Manifest:
    """The manifest of a disk with a table, a partition and a logical volume."""
    (tree,) = manifest.regions
    parts = (
        Part(0, 2**20, Role.TABLE),
        Part(2**20, 2**21, Role.PARTITION, number=5),
        Part(3 * 2**20, 2**22, Role.VOLUME, name="vg0/home"),
    )
    layout = Layout(7 * 2**20, 512, "gpt", parts=parts)
    return replace(
        manifest,
        layout=layout.to_dict(),
        regions=(
            Region("regions/0.img", parts[0].size, None, part=parts[0]),
            replace(tree, path="regions/1", size=parts[1].size, part=parts[1]),
            Region(
                "regions/2.img",
                parts[2].size,
                None,
                part=parts[2],
                content=Content("ntfs", "uuid", "label"),
                why="so",
            ),
        ),
    )


def test_the_manifest_of_a_disk_is_read_as_it_was_written(disk: Manifest) -> None:
    again = Manifest.from_json(disk.to_json())
    assert again == replace(disk, layout=json.loads(disk.to_json())["layout"])
    assert [region.is_image for region in again.disk.regions] == [True, False, True]
    assert (len(again.trees), len(again.images)) == (1, 2)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/1/etc", "/1/etc"),
        ("1:/etc", "/1/etc"),
        ("p5:/etc", "/1/etc"),
        ("1:", "/1"),
        ("vg0/home:", "/2.img"),
        ("0:", "/0.img"),
    ],
)
def test_a_path_can_begin_with_its_region(disk: Manifest, given: str, path: str) -> None:
    assert disk.below_root(given) == path


@pytest.mark.parametrize("given", ["9:/etc", "p1:/etc", "vg0/root:/etc"])
def test_an_unknown_region_is_refused_by_name(disk: Manifest, given: str) -> None:
    with pytest.raises(UsageError, match=f"has no region '{given.partition(':')[0]}'"):
        disk.below_root(given)


def test_one_file_system_has_no_names_of_regions(manifest: Manifest) -> None:
    assert manifest.below_root("1:/etc") == "1:/etc"


def test_an_image_that_could_not_be_read_is_named(disk: Manifest) -> None:
    torn = disk.without(["/2.img", "/1/etc/hosts"])
    assert torn.unread == ("/1/etc/hosts", "/2.img")
    assert Manifest.from_json(torn.to_json()).unread == torn.unread


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (0, {"path": "regions/0"}),
        (1, {"path": "regions/1.img"}),
        (0, {"size": 5}),
        (1, {"part": {"start": 0, "size": 2**21, "role": "partition"}}),
        (0, {"boot_sector": "no base64"}),
        (2, {"content": {"type": 3, "uuid": "", "label": ""}}),
        (0, {"part": {"start": 0, "size": 2**20, "role": "unheard of"}}),
    ],
)
def test_regions_that_are_not_parts_of_the_disk_are_damage(
    disk: Manifest, number: int, changes: dict[str, Any]
) -> None:
    values = json.loads(disk.to_json())
    values["regions"][number] |= changes
    with pytest.raises(RepositoryError, match="manifest is damaged"):
        Manifest.from_json(json.dumps(values))
