"""Listing, extracting, mounting, comparing, verifying and deleting backups."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tree
from tests.support.branch import branch
from tests.support.cloud import run
from tests.support.stage import Stage
from tests.support.waiting import until

pytestmark = pytest.mark.lab


def _below(found: tree.Tree, directory: bytes) -> tree.Tree:
    """A directory of a tree and its content, as a separate tree."""
    start = directory + b"/"
    below = {b".": found[directory]} | {
        path.removeprefix(start): entry for path, entry in found.items() if path.startswith(start)
    }
    # The first path of a hard link differs in a part of the tree.
    return {path: _bare(entry) for path, entry in below.items()}


def _bare(entry: tree.Entry) -> tree.Entry:
    from dataclasses import replace

    return replace(entry, same_as=b"")


@branch("backup ls: what is in it")
def test_backup_ls_lists_every_path_and_size(stage: Stage) -> None:
    was = stage.original("listed")
    shown = stage.rows("backup", "ls", was.volume, "/many")
    assert {row["Path"] for row in shown} == {f"/many/{n:03}" for n in range(200)}
    entries = {row["Path"]: row for row in shown}
    entry = was.tree[b"many/150"]
    assert entries["/many/150"]["Size"] == entry.size
    every = stage.rows("backup", "ls", was.volume, "--recursive")
    assert len(every) == len(was.tree) - 1
    assert sum(row["Size"] for row in every) == sum(
        entry.size for entry in was.tree.values() if entry.kind == "-"
    )
    stage.seen.data.append(f"{len(every)} paths, sizes equal")
    assert "does not contain '/none'" in stage.run("backup", "ls", was.volume, "/none", status=1)


@branch("backup extract: one file, a directory, with all metadata", quick=True)
def test_backup_extract_keeps_all_metadata(stage: Stage) -> None:
    was = stage.original("extracted")
    place = stage.site.home / "extracted"
    stage.run(
        *("backup", "extract", was.volume, "/random", "modes", "/sparse", "/attributes/"),
        *("--to", str(place)),
    )
    assert place.stat().st_mode & 0o777 == 0o700
    found = tree.describe(place)
    assert {path.split(b"/")[0] for path in found} == {
        *(b".", b"random", b"modes", b"sparse", b"attributes")
    }
    assert _bare(found[b"random"]) == _bare(was.tree[b"random"])
    for directory in (b"modes", b"sparse", b"attributes"):
        stage.same_tree(_below(was.tree, directory), _below(found, directory))


@branch("backup extract: nothing is written outside its target")
def test_backup_extract_writes_nothing_outside_its_target(stage: Stage) -> None:
    was = stage.original("outside")
    outside, place = stage.site.home / "not-here", stage.site.home / "target"
    outside.mkdir()
    place.mkdir()
    for path in ("../not-here", "/many/../../not-here", "..", "/"):
        said = stage.run("backup", "extract", was.volume, path, "--to", str(place), status=2)
        assert "not a path in the volume" in said
    # A link in the path would lead out of the directory.
    (place / "many").symlink_to(outside)
    said = stage.run("backup", "extract", was.volume, "/many", "--to", str(place), status=2)
    assert "not an empty directory" in said
    (place / "many").unlink()
    # A missing path is reported before anything is written.
    said = stage.run(
        *("backup", "extract", was.volume, "/text", "/many/none", "--to", str(place)), status=1
    )
    assert "does not contain '/many/none'" in said
    assert list(place.iterdir()) == []
    # A link on the volume is extracted as a link, and is not followed.
    stage.run("backup", "extract", was.volume, "/links", "--to", str(place))
    assert os.readlink(place / "links" / "absolute") == "/etc/passwd"
    assert list(outside.iterdir()) == []
    stage.same_data(was.tree, was.volume)


@branch("backup mount: the files, read-only, until interrupted")
def test_backup_mount_shows_files_read_only_until_interrupted(stage: Stage) -> None:
    was = stage.original("mounted")
    place = stage.site.home / "mounted"
    place.mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "volflow.cli.main", "--config-file", str(stage.site.config())),
            *("backup", "mount", was.volume, str(place)),
        ],
        env=stage.site.environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        assert "The backup is mounted at" in process.stdout.readline()
        found = {
            name: (place / name).read_bytes() for name in ("text", "random", "sparse/odd size")
        }
        names = {path.name for path in place.iterdir()}
        try:
            (place / "text").write_text("x")
        except OSError:
            written = False
        else:
            written = True
        options = next(
            line for line in Path("/proc/mounts").read_text().splitlines() if f" {place} " in line
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    assert not written
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.split()[3].split(","))
    assert names == {os.fsdecode(path) for path in was.tree if b"/" not in path} - {"."}
    assert not os.path.ismount(place)
    stage.site.cloud.on(
        was.volume,
        lambda root: [_equal((root / name).read_bytes(), data) for name, data in found.items()],
        read_only=True,
    )
    stage.seen.data.append(f"{len(found)} files equal")


@branch("backup mount: the terminal is closed, with somebody in it: nothing stays")
def test_backup_mount_leaves_nothing_when_its_terminal_closes(stage: Stage) -> None:
    was = stage.original("looked into")
    place = stage.site.home / "looked-into"
    place.mkdir()
    config = stage.site.config()
    # These tests may run under nohup, which ignores the signal of a closed terminal.
    command = ["env", "--default-signal=HUP"]
    command += [sys.executable, "-m", "volflow.cli.main", "--config-file", str(config)]

    def mounted() -> tuple[subprocess.Popen[str], subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [*command, "backup", "mount", was.volume, str(place)],
            env=stage.site.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert "The backup is mounted at" in process.stdout.readline()
        return process, subprocess.Popen(["sleep", "60"], cwd=place)

    for number, status in ((signal.SIGHUP, 0), (signal.SIGKILL, -signal.SIGKILL)):
        process, stander = mounted()
        try:
            process.send_signal(number)
            _, said = process.communicate(timeout=120)
        finally:
            stander.kill()
            stander.wait()
            process.kill()
        assert process.returncode == status
        if number == signal.SIGHUP:
            assert f"{place} is still in use" in said
            assert "Traceback" not in said
        else:
            said = stage.run("backup", "mount", was.volume, str(place), status=2)
            assert f"'umount {place}' removes it" in said
            run("umount", str(place))
        until(lambda: not stage.site.restic("list", "locks", "--no-lock").strip())
        assert f" {stage.site.state}/" not in Path("/proc/mounts").read_text()
        assert not os.path.ismount(place)
    stage.seen.data.append("SIGHUP, SIGKILL: nothing stays")


def _shown(name: bytes) -> str:
    """The path in JSON, which holds no bytes that are not UTF-8."""
    return f"/{name.decode(errors='replace')}"


def _equal(one: bytes, other: bytes) -> None:
    assert one == other


@branch("backup diff: what has changed between two backups")
def test_backup_diff_shows_every_change_between_two_backups(stage: Stage) -> None:
    was = stage.original("compared")
    stage.change(was.volume)
    now = stage.backed_up(was.volume)
    command = ("backup", "diff", was.backup, now.backup)
    told = {row["Path"]: row["Change"] for row in stage.rows(*command)}
    expected = {
        "/text": "changed",
        "/random": "removed",
        "/later/": "added",
        "/later/file": "added",
        "/many/one more": "added",
    }
    assert told == expected
    told = {row["Path"]: row["Change"] for row in stage.rows(*command, "--metadata")}
    # The second backup read the other files again, and gave them another ctime for that.
    files = {_shown(name) for name in now.tree.keys() & was.tree if now.tree[name].kind == "-"}
    same = {_shown(name) for name in was.tree if now.tree.get(name) == was.tree[name]}
    again = {path for path in files & same if told.get(path) == "metadata"}
    changed = {path: change for path, change in told.items() if path not in again}
    assert changed == expected | {"/one byte": "metadata", "/many/": "metadata"}
    stage.seen.data.append(f"{len(told)} paths told, of {len(now.tree)}")


@branch("backup verify: all of a backup, or a sample of all; damage is found")
def test_backup_verify_finds_one_damaged_byte(stage: Stage) -> None:
    was = stage.original("verified")
    whole = stage.rows("backup", "verify", was.backup)
    assert whole[0]["Result"].startswith("whole, ")
    (sample,) = stage.rows("backup", "verify", "--percent", "50")
    assert sample == {"Checked": "50 %", "Result": "no errors were found"}
    damaged = stage.site.home / "damaged"
    shutil.copytree(stage.site.repository, damaged)
    files = [path for path in (damaged / "data").rglob("*") if path.is_file()]
    pack = max(files, key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 0xFF
    pack.write_bytes(content)
    config = stage.site.home / "damaged.conf"
    text = stage.site.config().read_text()
    config.write_text(text.replace(str(stage.site.repository), str(damaged)))
    rows = stage.rows("backup", "verify", was.backup, status=1, config=config)
    assert rows[0]["Result"].startswith("FAILED")
    stage.run("backup", "verify", "--percent", "100", status=1, config=config)
    # A damaged backup cannot be restored, and the volume made for it is removed.
    before = {volume.id for volume in stage.site.cloud.client.volumes.list()}
    (row,) = stage.rows(
        *("restore", "create", was.backup, "--new", "--verify"), status=1, config=config
    )
    assert row["outcome"] == "failed"
    assert {volume.id for volume in stage.site.cloud.client.volumes.list()} == before
    shutil.rmtree(damaged)
    stage.seen.data.append(f"{whole[0]['Result']}; 1 byte of it damaged: found")


@branch("backup delete: asked for; the others stay whole")
def test_backup_delete_asks_first_and_spares_other_backups(stage: Stage) -> None:
    was = stage.original("deleted once")
    stage.change(was.volume)
    now = stage.backed_up(was.volume)
    said = stage.run("backup", "delete", was.backup, status=2)
    assert f"Backup {was.backup[:8]} of deleted once" in said
    stage.run("backup", "delete", was.backup, "--yes")
    stage.run("repository", "prune")
    ids = {row["ID"] for row in stage.rows("backup", "list", "--volume", was.volume)}
    assert ids == {now.backup}
    assert stage.rows("backup", "verify", now.backup)[0]["Result"].startswith("whole")
    stage.site.cloud.delete(was.volume)
    (row,) = stage.rows("restore", "create", "deleted once")
    stage.same_data(now.tree, row["target_id"])
