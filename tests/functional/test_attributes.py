"""Inode flags, project ids and birth times: stored, restored last, and told where they are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import fscrypt, tree
from tests.support.cloud import in_a_namespace, run, unmount
from tests.support.controlled_runs import killed
from tests.support.controlled_runs import run as command
from tests.support.inode_attributes import flags, projects
from tests.support.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

FLAGS = {
    "ext4": {
        "i": "etc/locked",
        "a": "log",
        "d": "cache",
        "A": "etc",
        "S": "etc/synced",
        "D": "etc",
    },
    "xfs": {"i": "etc/locked", "a": "log", "d": "cache", "A": "etc", "S": "etc/synced"},
}
PROJECT, OTHER = 4_000_000_000, 7


def _files(root: Path) -> None:
    (root / "etc/below").mkdir(parents=True)
    (root / "shared").mkdir()
    for name in ("etc/locked", "etc/synced", "etc/below/plain", "log", "cache", "locked dir file"):
        (root / name).write_text(name)
    (root / "locked\n dir").mkdir()
    (root / "locked\n dir/inside").write_text("inside")
    (root / "link").symlink_to("etc/locked")


def _attributes(kind: str, root: Path) -> None:
    if kind == "xfs":
        run("xfs_io", "-c", f"chproj {PROJECT}", "-c", "chattr +P", str(root / "shared"))
        (root / "shared/inherits").write_text("in a project")
        run("xfs_io", "-c", f"chproj {OTHER}", str(root / "etc/below/plain"))
    for flag, name in FLAGS[kind].items():
        run("chattr", f"+{flag}", str(root / name))
    run("chattr", "+i", str(root / "locked\n dir/inside"), str(root / "locked\n dir"))


def _look(kind: str) -> Callable[[Path], Any]:
    def look(root: Path) -> Any:
        return flags(root), projects(root) if kind == "xfs" else {}, tree.describe(root)

    return look


@pytest.fixture(params=["ext4", "xfs"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def volume(site: Site, kind: str) -> str:
    found = site.cloud.create(name="attributes")

    def fill(root: Path) -> None:
        _files(root)
        _attributes(kind, root)

    site.cloud.fill(found, kind, fill)
    return found


def _same(before: Any, after: Any) -> None:
    assert after[:2] == before[:2]
    tree.assert_same(before[2], after[2])


def test_flags_and_projects_come_back(site: Site, volume: str, kind: str) -> None:
    before = site.cloud.on(volume, _look(kind), read_only=True)
    assert set("".join(before[0].values())) >= set(FLAGS[kind])
    assert (PROJECT in before[1].values()) is (kind == "xfs")
    (made,) = site.backup(volume).volumes
    assert (str(made.outcome), made.remarks) == ("complete", ())
    (row,) = site.restore(volume, new=True, verify=True).volumes
    assert (str(row.outcome), row.remarks) == ("complete", ())
    _same(before, site.cloud.on(row.target_id, _look(kind), read_only=True))
    # A new file in the directory of a project belongs to it.
    if kind == "xfs":

        def new(root: Path) -> dict[str, int]:
            (root / "shared/new").write_text("new")
            return projects(root)

        assert site.cloud.on(row.target_id, new)["shared/new"] == PROJECT


def test_a_restore_over_files_gives_them_the_flags_of_the_backup(
    site: Site, volume: str, kind: str
) -> None:
    before = site.cloud.on(volume, _look(kind), read_only=True)
    site.backup(volume)

    def change(root: Path) -> None:
        # Not the link, which has no flags.
        each = ("find", str(root), "!", "-type", "l")
        run(*each, "-exec", "chattr", "-iaAdS", "{}", "+")
        (root / "cache").write_text("changed")
        run("chattr", "+i", str(root / "cache"))
        if kind == "xfs":
            for name in ("shared/inherits", "etc/below/plain"):
                run("xfs_io", "-c", "chproj 99", str(root / name))
        (root / "etc/locked").unlink()

    site.cloud.on(volume, change)
    (row,) = site.restore(volume, keep_extra=True, verify=True).volumes
    assert (str(row.outcome), row.remarks) == ("complete", ())
    _same(before, site.cloud.on(volume, _look(kind), read_only=True))


def test_a_restore_that_is_killed_after_the_last_change_is_resumed(
    site: Site, volume: str, kind: str
) -> None:
    """What it has made immutable must not stop it."""
    before = site.cloud.on(volume, _look(kind), read_only=True)
    site.backup(volume)
    left = killed(site, "restore", volume, step="copy", when="after", new=True)
    answer = command(site, "resume", left)
    assert answer.exit == 0, answer
    target = site.cloud.adopt(answer.volumes[0]["target_id"])
    _same(before, site.cloud.on(target, _look(kind), read_only=True))


def test_a_disk_image_has_the_flags_too(site: Site, volume: str, kind: str) -> None:
    before = site.cloud.on(volume, _look(kind), read_only=True)
    site.backup(volume)
    image = site.home / "image"
    done = site.cli("restore", "create", volume, "--to-image", str(image))
    assert done.returncode == 0, done
    _same(before, _in_image(image, kind, _look(kind)))


def _in_image(image: Path, kind: str, look: Callable[[Path], Any]) -> Any:
    point = image.with_suffix(".mount")
    point.mkdir()

    def inside() -> Any:
        options = "loop,ro" + (",nouuid" if kind == "xfs" else "")
        run("mount", "-t", kind, "-o", options, str(image), str(point))
        try:
            return look(point)
        finally:
            unmount(point)

    return in_a_namespace(inside)


def test_an_unchanged_tree_gives_an_unchanged_file(site: Site, volume: str) -> None:
    """So restic stores it once."""
    texts = {
        site.restic("dump", str(site.backup(volume).volumes[0].backup_id), "/attributes/0")
        for _ in range(2)
    }
    assert len(texts) == 1


def test_the_backup_holds_birth_times(site: Site, volume: str) -> None:
    (made,) = site.backup(volume).volumes
    lines = site.restic("dump", made.backup_id, "/attributes/0").splitlines()
    born = {}
    last = 0
    for above, entries in map(json.loads, lines[1:]):
        for name, difference, *_ in entries:
            last += difference
            born[f"{above}/{name}".strip("/")] = last

    def stat(root: Path) -> dict[str, int]:
        return {
            name: int(run("stat", "--format=%W", str(root / name)))
            for name in ("etc/locked", "shared", "link")
        }

    found = site.cloud.on(volume, stat, read_only=True)
    assert {name: born[name] // 10**9 for name in found} == found


@contextmanager
def _encrypted(site: Site) -> Iterator[str]:
    volume = site.cloud.create(name="encrypted")

    def fill(root: Path) -> None:
        key = fscrypt.add_key(root)
        for name in ("home/alice", "home/bob and\nhis dogs ", "$HOME"):
            (root / name).mkdir(parents=True)
            fscrypt.encrypt(root / name, key)
            (root / name / "secret name").write_text("secret")
            (root / name / "below").mkdir()
        (root / "home/carol").write_text("plain")

    site.cloud.fill(volume, "ext4", fill, "-O", "encrypt")
    yield volume


def test_encrypted_directories_make_a_backup_partial(site: Site) -> None:
    with _encrypted(site) as volume:
        (made,) = site.backup(volume).volumes
        assert str(made.outcome) == "partial"
        wanted = {"/home/alice/", "/home/bob and\nhis dogs /", "/$HOME/"}
        assert set(made.unread) == wanted
        (remark,) = made.remarks
        assert "because the guest encrypts them (fscrypt)" in remark
        listed = site.restic("ls", made.backup_id)
        assert "alice" not in listed
        assert "dogs" not in listed
        assert "$HOME" not in listed
        assert "carol" in listed
        (row,) = site.restore(volume, new=True).volumes
        assert str(row.outcome) == "partial"
        names = site.cloud.on(
            row.target_id, lambda root: sorted(p.name for p in root.rglob("*")), read_only=True
        )
        assert names == ["carol", "home", "lost+found"]
        # The second backup has a parent, and lists the same.
        assert set(site.backup(volume).volumes[0].unread) == wanted
