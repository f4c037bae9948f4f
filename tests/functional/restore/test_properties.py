"""The properties of a restored volume, what it replaces, and restores of several volumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.branch import branch
from tests.support.faults import AFTER_COPY, injected, raised
from tests.support.refusing_proxy import Refusing
from tests.support.stage import IMAGE, PROPERTIES, Original, Stage, everything_set

pytestmark = pytest.mark.lab


def _changed(stage: Stage, volume: str) -> dict[str, Any]:
    """Change every property that can be changed; return the properties after that."""
    volumes = stage.site.cloud.client.volumes
    volumes.update_readonly_flag(volume, False)
    volumes.update(volume, name="changed", description="changed too")
    volumes.delete_metadata(volume, ["empty"])
    volumes.set_metadata(volume, {"colour": "red", "later": "1"})
    volumes.set_bootable(volume, False)
    volumes.set_image_metadata(volume, {"os_distro": "other", "later": "1"})
    return stage.site.cloud.show(volume)


@branch("no meta_override: the volume's properties stay")
def test_without_meta_override_the_properties_of_the_volume_stay(stage: Stage) -> None:
    volume = stage.volume("properties stay", **PROPERTIES)
    everything_set(stage, volume)
    was = stage.backed_up(volume, stage.tree)
    changed = _changed(stage, volume)
    (row,) = stage.rows("restore", "create", volume, "--yes")
    stage.same_data(was.tree, volume)
    stage.same_properties(changed, volume, own=True)
    told = {each["name"]: (each["was"], each["now"]) for each in row["differences"]}
    assert told["name"] == ("properties stay", "changed")
    assert told["image_metadata"] == (IMAGE, {**IMAGE, "os_distro": "other", "later": "1"})
    assert told["readonly"] == (True, False)
    assert {each["why"] for each in row["differences"]} == {"--meta-override was not given"}


@branch("meta_override: the backup's properties come back", quick=True)
def test_meta_override_brings_back_the_properties_in_the_backup(stage: Stage) -> None:
    volume = stage.volume("properties back", **PROPERTIES)
    everything_set(stage, volume)
    was = stage.backed_up(volume, stage.tree)
    _changed(stage, volume)
    (row,) = stage.rows("restore", "create", volume, "--yes", "--meta-override")
    assert row["differences"] == []
    stage.same_data(was.tree, volume)
    stage.same_properties(was.shown, volume, own=True)


@branch("meta_override with JSON: single properties are others")
def test_meta_override_with_json_changes_single_properties(stage: Stage) -> None:
    volume = stage.volume("single properties", **PROPERTIES)
    everything_set(stage, volume)
    was = stage.backed_up(volume, stage.tree)
    _changed(stage, volume)
    wanted = '{"name": "new", "metadata": {"a": "1"}, "bootable": false}'
    (row,) = stage.rows("restore", "create", volume, "--yes", "--meta-override", wanted)
    told = {each["name"]: each["why"] for each in row["differences"]}
    assert told == dict.fromkeys(("name", "metadata", "bootable"), "it was overridden")
    now = stage.site.cloud.show(volume)
    assert (now["name"], now["bootable"]) == ("new", "false")
    # Cinder stores read-only in the metadata.
    assert now["metadata"] == {"a": "1", "readonly": "True"}
    but = {"name", "metadata", "bootable"}
    stage.same_properties(was.shown, volume, own=True, but=but)
    stage.same_data(was.tree, volume)


@branch("meta_override with what is unknown: an error, and nothing is touched")
def test_meta_override_refuses_unknown_properties_and_touches_nothing(stage: Stage) -> None:
    was = stage.original("unknown properties")
    changed = stage.change(was.volume)
    for wanted, says in (
        ('{"colour": "red"}', "'colour' is not a property that can be overridden"),
        ('{"metadata": {"a": 1}}', "'a' has 1"),
        ('{"metadata": {"volflow": "x"}}', "'volflow' cannot be set"),
        ("name=x", "not valid JSON"),
    ):
        said = stage.run(
            *("restore", "create", was.volume, "--yes", "--meta-override", wanted), status=2
        )
        assert says in said, said
    stage.same_data(changed, was.volume)
    stage.same_properties(was.shown, was.volume, own=True)


@contextmanager
def _quality(stage: Stage, name: str) -> Iterator[str]:
    """A volume type with a QoS specification; yields the specification's id."""
    client = stage.site.cloud.client
    made = client.volume_types.create(name)
    made.set_keys({"volume_backend_name": "lab"})
    qos = client.qos_specs.create(f"qos of {name}", {"consumer": "front-end", "read_iops_sec": "9"})
    client.qos_specs.associate(qos.id, made.id)
    try:
        yield str(qos.id)
    finally:
        client.qos_specs.disassociate_all(qos.id)
        client.qos_specs.delete(qos.id)


@branch("what cannot come back (QoS, attachments, type, zone): told in the result")
def test_the_result_names_properties_that_cannot_come_back(stage: Stage) -> None:
    cloud = stage.site.cloud
    with _quality(stage, "fast") as qos:
        volume = cloud.create(
            name="told", volume_type="fast", availability_zone="second", **PROPERTIES
        )
        cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("content\n"))
        with cloud.attached(volume):
            was = stage.backed_up_attached(volume)
    cloud.delete(volume)
    client = cloud.client
    client.volume_types.delete(next(t for t in client.volume_types.list() if t.name == "fast"))
    done = stage.run("restore", "create", "told", status=1)
    assert "no volume type 'fast'" in done
    assert "--type-map fast=TYPE" in done
    done = stage.run("restore", "create", "told", "--type-map", "fast=lab", "--az-map",
                     "second=third", status=1)  # fmt: skip
    assert "no availability zone 'third'" in done
    (row,) = stage.rows(
        *("restore", "create", "told", "--type-map", "fast=lab", "--az-map", "second=nova")
    )
    told = {each["name"]: each for each in row["differences"]}
    assert told.keys() == {"volume_type", "availability_zone", "attachments", "qos_specs_id"}
    assert (told["volume_type"]["was"], told["volume_type"]["now"]) == ("fast", "lab")
    assert told["availability_zone"]["was"] == "second"
    assert told["attachments"]["was"][0]["attachment_id"]
    assert told["attachments"]["now"] == []
    assert (told["qos_specs_id"]["was"], told["qos_specs_id"]["now"]) == (qos, None)
    assert all(each["why"] for each in told.values())
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(
        was.shown,
        row["target_id"],
        but={"status", "volume_type", "volume_type_id", "availability_zone"} & was.shown.keys(),
    )


@branch("the QoS of the type was changed: told in the result")
def test_the_result_names_a_changed_qos_of_the_type(stage: Stage) -> None:
    with _quality(stage, "slower") as qos:
        volume = stage.site.cloud.create(name="slower", volume_type="slower")
        stage.site.cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("x\n"))
        was = stage.backed_up(volume)
        stage.site.cloud.client.qos_specs.set_keys(qos, {"read_iops_sec": "3"})
        (row,) = stage.rows("restore", "create", "slower", "--yes")
        (told,) = row["differences"]
        assert (told["name"], told["was"], told["now"]) == (
            *("qos_specs.specs", {"read_iops_sec": "9"}),
            {"read_iops_sec": "3"},
        )
        stage.same_data(was.tree, volume)
        stage.site.cloud.delete(volume)


@branch("a property is refused: told, and what was restored stays")
def test_the_data_stays_restored_if_cinder_refuses_a_property(stage: Stage) -> None:
    volume, volumes = stage.volume("refused"), stage.site.cloud.client.volumes
    volumes.set_image_metadata(volume, IMAGE)
    was = stage.backed_up(volume, stage.tree)
    stage.change(volume)
    volumes.set_image_metadata(volume, {"os_distro": "other"})
    with Refusing(stage.site, f"{volume}/action", 403) as environment:
        (row,) = stage.rows(
            *("restore", "create", was.volume, "--yes", "--meta-override", '{"name": "taken"}'),
            environment=environment,
        )
    assert row["outcome"] == "complete"
    told = {each["name"]: each["why"] for each in row["differences"]}
    assert told.keys() == {"name", "image_metadata"}
    assert "'os_distro': " in told["image_metadata"]
    assert "not permitted" in told["image_metadata"]
    stage.same_data(was.tree, was.volume)


def _pair(stage: Stage, name: str) -> list[Original]:
    pair = [stage.original(f"{name} {number}", **PROPERTIES) for number in (1, 2)]
    for was in pair:
        stage.change(was.volume)
    return pair


@branch("remove_old_vol: shown, asked for, and only then removed")
def test_remove_old_vol_removes_only_after_the_answer_yes(stage: Stage) -> None:
    pair = _pair(stage, "old")
    command = ("restore", "create", *(was.volume for was in pair), "--new", "--remove-old-vol")
    planned = stage.rows(*command, "--dry-run")
    assert [row["Removed afterwards"] for row in planned] == [f"volume {w.volume}" for w in pair]
    said = stage.run(*command, status=2)
    for was in pair:
        assert f"Volume {was.volume} ({was.shown['name']}, 1 GiB) will be removed" in said
    assert "--yes" in said
    for was in pair:
        stage.same_properties(was.shown, was.volume, own=True)
    rows = stage.rows(*command, "--yes")
    there = {volume.id for volume in stage.site.cloud.client.volumes.list()}
    for was, row in zip(pair, rows, strict=True):
        assert row["removed"] is True
        assert was.volume not in there
        stage.site.cloud.known.volumes.discard(was.volume)
        stage.same_data(was.tree, row["target_id"])
        stage.same_properties(was.shown, row["target_id"])


@branch("remove_old_vol, and one restore fails: nothing is removed")
def test_remove_old_vol_removes_nothing_if_one_restore_fails(stage: Stage) -> None:
    pair = _pair(stage, "spared")
    with injected({pair[1].volume: AFTER_COPY}, raised) as happened:
        result = stage.site.restore(*(was.volume for was in pair), new=True, remove_old_vol=True)
    assert happened
    assert [str(volume.outcome) for volume in result.volumes] == ["complete", "failed"]
    for was, volume in zip(pair, result.volumes, strict=True):
        assert not volume.removed
        assert "not all volumes of the run are complete" in volume.not_removed
        stage.same_properties(was.shown, was.volume, own=True)
    stage.same_data(pair[0].tree, result.volumes[0].target_id)


@branch("remove_old_vol, but the old one is attached, or has snapshots: it stays")
def test_remove_old_vol_keeps_volumes_attached_or_with_snapshots(stage: Stage) -> None:
    one, two = _pair(stage, "in the way")
    snapshot = stage.site.cloud.create_snapshot(two.volume)
    with stage.site.cloud.attached(one.volume):
        command = ("restore", "create", one.volume, two.volume, "--new", "--remove-old-vol")
        planned = stage.rows(*command, "--dry-run")
        first, second = (row["Removed afterwards"] for row in planned)
        assert first.startswith(f"not volume {one.volume}: it is 'in-use'")
        assert second == f"not volume {two.volume}: it has snapshots"
        rows = stage.rows(*command, "--yes")
        assert [row["removed"] for row in rows] == [False, False]
        assert "attached" in rows[0]["not_removed"]
        stays = f"volume {two.volume}: it stays, as planned: it has snapshots"
        assert rows[1]["not_removed"] == stays
    for was, row in zip((one, two), rows, strict=True):
        stage.same_data(was.tree, row["target_id"])
        stage.same_properties(was.shown, was.volume, own=True)
    stage.site.cloud.delete_snapshot(snapshot)
