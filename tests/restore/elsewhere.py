"""Restores without a cloud, and without what volflow knew."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import tree
from cloud import in_a_namespace, run

from restore.branch import branch
from restore.stage import PROPERTIES, Stage


@branch("no cloud, no database: into a directory", quick=True)
def _(stage: Stage) -> None:
    was = stage.original("to a directory")
    place = stage.site.home / "directory"
    with stage.without_cloud() as alone:
        stage.run("restore", "create", was.volume, "--to-path", str(place), "--dry-run", **alone)
        assert not place.exists()
        stage.run("restore", "create", was.volume, "--to-path", str(place), "--verify", **alone)
        # What is there is not written to.
        said = stage.run(
            "restore", "create", was.volume, "--to-path", str(place), status=2, **alone
        )
        assert "no empty directory" in said
    stage.same_tree(was.tree, tree.describe(place))


def _same_image(stage: Stage, was: tree.Tree, image: Path) -> None:
    def look() -> tree.Tree:
        point = stage.site.home / "image"
        point.mkdir(exist_ok=True)
        run("mount", "-o", "loop,ro", str(image), str(point))
        try:
            return tree.describe(point)
        finally:
            run("umount", str(point))

    stage.same_tree(was, in_a_namespace(look))


@branch("no cloud, no database: into a raw image")
def _(stage: Stage) -> None:
    was = stage.original("to an image")
    image = stage.site.home / "volume.img"
    with stage.without_cloud() as alone:
        stage.run("restore", "create", was.volume, "--to-image", str(image), "--verify", **alone)
    assert image.stat().st_size == was.shown["size"] * 1024**3
    assert image.stat().st_mode & 0o777 == 0o600
    _same_image(stage, was.tree, image)
    assert [path for path in image.parent.iterdir() if path.name.startswith(".volume")] == []


@branch("no cloud, no database: into a qcow2 image")
def _(stage: Stage) -> None:
    was = stage.original("to a qcow2 image")
    image = stage.site.home / "volume.qcow2"
    with stage.without_cloud() as alone:
        stage.run("restore", "create", was.volume, "--to-image", str(image), **alone)
    told = json.loads(run("qemu-img", "info", "--output=json", str(image)))
    assert (told["format"], told["virtual-size"]) == ("qcow2", was.shown["size"] * 1024**3)
    raw = stage.site.home / "from-qcow2.img"
    run("qemu-img", "convert", "-O", "raw", str(image), str(raw))
    _same_image(stage, was.tree, raw)


@branch("no cloud: what makes no sense without one is refused")
def _(stage: Stage) -> None:
    was = stage.original("no sense")
    place = stage.site.home / "no-sense"
    for option in (["--grow"], ["--meta-override"], ["--remove-old-vol"], ["--type-map", "a=b"]):
        said = stage.run(
            *("restore", "create", was.volume, "--to-path", str(place), *option), status=2
        )
        assert f"{option[0]} is for volumes" in said
    assert not place.exists()
    stage.same_data(was.tree, was.volume)


@branch("the state database is lost: rebuilt from the repository, and restored")
def _(stage: Stage) -> None:
    was = stage.original("catalogue", **PROPERTIES)
    before = {row["ID"] for row in stage.rows("backup", "list")}
    shutil.rmtree(stage.site.state)
    said = stage.run("repository", "rebuild-catalogue")
    assert f"knows the {len(before)} backups" in said
    with closing(sqlite3.connect(stage.site.state / "state.sqlite")) as database:
        known = {row[0] for row in database.execute("SELECT id FROM backup")}
    stored = json.loads(stage.site.restic("snapshots", "--json"))
    assert known == {snapshot["id"] for snapshot in stored}
    assert {row["ID"] for row in stage.rows("backup", "list")} == before
    stage.site.cloud.delete(was.volume)
    (row,) = stage.rows("restore", "create", was.volume)
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(was.shown, row["target_id"])
