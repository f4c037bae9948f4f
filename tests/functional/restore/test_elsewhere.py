"""Restores without a cloud, and without volflow's state."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import tree
from tests.support.branch import branch
from tests.support.cloud import in_a_namespace, run
from tests.support.stage import PROPERTIES, Stage

pytestmark = pytest.mark.lab


@branch("no cloud, no database: into a directory", quick=True)
def test_a_directory_can_be_filled_without_cloud_and_database(stage: Stage) -> None:
    was = stage.original("to a directory")
    place = stage.site.home / "directory"
    with stage.without_cloud() as alone:
        stage.run("restore", "create", was.volume, "--to-path", str(place), "--dry-run", **alone)
        assert not place.exists()
        stage.run("restore", "create", was.volume, "--to-path", str(place), "--verify", **alone)
        # Existing files are not overwritten.
        said = stage.run(
            "restore", "create", was.volume, "--to-path", str(place), status=2, **alone
        )
        assert "not an empty directory" in said
    _same_directory(stage, was.tree, place)


@branch("no cloud: programs of a guest are for nobody else, whatever its root allows")
def test_a_filled_directory_is_its_owners_alone(stage: Stage) -> None:
    def allow(root: Path) -> None:
        os.chown(root, 12, 34)
        root.chmod(0o1777)
        (root / "become").write_bytes(b"a program")
        (root / "become").chmod(0o4755)

    was = stage.original("of a guest", allow)
    for name in ("not there", "open to all"):
        place = stage.site.home / name
        if name == "open to all":
            place.mkdir(mode=0o755)
        done = stage.cli("restore", "create", was.volume, "--to-path", str(place))
        _same_directory(stage, was.tree, place)
        assert "The root of the volume had mode dtrwxrwxrwx, user 12 and group 34" in done.stderr
        assert (place / "become").stat().st_mode & 0o7777 == 0o4755


def _same_directory(stage: Stage, was: tree.Tree, place: Path) -> None:
    """Fail unless a directory holds this, and only its owner can access it."""
    status = place.stat()
    assert (status.st_mode & 0o7777, status.st_uid) == (0o700, os.getuid())
    root = {b".": was[b"."]}
    stage.same_tree(was, tree.describe(place) | root)


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
def test_a_raw_image_can_be_made_without_cloud_and_database(stage: Stage) -> None:
    was = stage.original("to an image")
    image = stage.site.home / "volume.img"
    with stage.without_cloud() as alone:
        stage.run("restore", "create", was.volume, "--to-image", str(image), "--verify", **alone)
    assert image.stat().st_size == was.shown["size"] * 1024**3
    assert image.stat().st_mode & 0o777 == 0o600
    _same_image(stage, was.tree, image)
    assert [path for path in image.parent.iterdir() if path.name.startswith(".volume")] == []


@branch("no cloud, no database: into a qcow2 image")
def test_a_qcow2_image_can_be_made_without_cloud_and_database(stage: Stage) -> None:
    was = stage.original("to a qcow2 image")
    image, programs = stage.site.home / "volume.qcow2", stage.site.home / "programs"
    programs.mkdir()
    # Checks the file before qemu-img writes to it.
    notes, program = programs / "notes", programs / "qemu-img"
    program.write_text(
        f'#!/bin/sh\nfor last; do :; done\nstat -c "%a" "$last" > {notes}\n'
        f'exec {shutil.which("qemu-img")} "$@"\n'
    )
    program.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    with stage.without_cloud() as alone:
        alone["environment"] |= {"PATH": path}
        stage.run("restore", "create", was.volume, "--to-image", str(image), **alone)
    assert notes.read_text() == "600\n"
    assert image.stat().st_mode & 0o777 == 0o600
    told = json.loads(run("qemu-img", "info", "--output=json", str(image)))
    assert (told["format"], told["virtual-size"]) == ("qcow2", was.shown["size"] * 1024**3)
    raw = stage.site.home / "from-qcow2.img"
    run("qemu-img", "convert", "-O", "raw", str(image), str(raw))
    _same_image(stage, was.tree, raw)


@branch("no cloud: what makes no sense without one is refused")
def test_options_that_need_a_cloud_are_refused_without_one(stage: Stage) -> None:
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
def test_a_lost_state_database_is_rebuilt_from_the_repository(stage: Stage) -> None:
    was = stage.original("catalogue", **PROPERTIES)
    before = {row["ID"] for row in stage.rows("backup", "list")}
    shutil.rmtree(stage.site.state)
    said = stage.run("repository", "rebuild-catalogue")
    assert f"now lists the {len(before)} backups" in said
    with closing(sqlite3.connect(stage.site.state / "state.sqlite")) as database:
        known = {row[0] for row in database.execute("SELECT id FROM backup")}
    assert known == before
    assert {row["ID"] for row in stage.rows("backup", "list")} == before
    stage.site.cloud.delete(was.volume)
    (row,) = stage.rows("restore", "create", was.volume)
    stage.same_data(was.tree, row["target_id"])
    stage.same_properties(was.shown, row["target_id"])
