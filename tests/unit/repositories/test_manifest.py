"""The manifest: what is written is what is read, and damage is told."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from volflow.disk.filesystem import FileSystem
from volflow.errors import RepositoryError
from volflow.repositories.manifest import FORMAT, Manifest, Region

VOLUME_ID = str(UUID(int=1))


@pytest.fixture
def manifest() -> Manifest:
    region = Region(
        path="regions/0",
        size=2**30,
        file_system=FileSystem("ext4", "uuid", "ä label", {"block_size": "4096"}),
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


def test_what_is_written_is_read(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_it_is_text_that_any_file_can_hold(manifest: Manifest) -> None:
    """Names that are no UTF-8 too."""
    manifest.to_json().encode("ascii")


def test_it_names_what_is_missing(manifest: Manifest) -> None:
    assert manifest.unread == ()
    torn = manifest.without(["/a", "/b"])
    assert torn.unread == ("/a", "/b")
    assert Manifest.from_json(torn.to_json()) == torn


def test_one_of_before_that_was_told(manifest: Manifest) -> None:
    values = json.loads(manifest.to_json())
    for region in values["regions"]:
        del region["unread"]
    assert Manifest.from_json(json.dumps(values)) == manifest


def test_the_size_is_that_of_the_snapshot(manifest: Manifest) -> None:
    assert manifest.size_gib == 3
    assert manifest.volume_id == VOLUME_ID


def _changed(manifest: Manifest, **changes: Any) -> str:
    return json.dumps(json.loads(manifest.to_json()) | changes)


def test_a_newer_format_is_refused(manifest: Manifest) -> None:
    with pytest.raises(RepositoryError, match=r"has format 99; this volflow reads 1.*newer"):
        Manifest.from_json(_changed(manifest, format=99))
    assert FORMAT == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '"text"', '{"format": 1}', '{"format": 1, "regions": [{}]}'],
)
def test_damage_is_told(text: str) -> None:
    with pytest.raises(RepositoryError, match="manifest is damaged"):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"volume": {"id": "../../etc"}},
        {"regions": None},
        {"regions": [{"path": "x"}]},
        {"regions": [{"path": "x", "size": 1, "file_system": {"type": "ext4"}, "y": 1}]},
    ],
    ids=str,
)
def test_a_part_that_is_damaged_is_told(manifest: Manifest, change: dict[str, Any]) -> None:
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
def test_what_a_plan_looks_at_is_there(manifest: Manifest, changes: dict[str, Any]) -> None:
    """One such backup must not end a restore of all."""
    with pytest.raises(RepositoryError, match="manifest is damaged"):
        Manifest.from_json(_changed(manifest, **changes))
