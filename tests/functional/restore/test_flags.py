"""Restores over existing files that are immutable or append-only (``chattr +i``, ``+a``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cloud import run
from tests.support.stage import Stage

pytestmark = pytest.mark.lab

NAMES = ("f", "log", "dir/below", "dir/log/x", "both/kept", "gone")
FLAGS = {
    "+i": ("f", "dir/below", "both/kept", "dir", "mine/x", "mine", "."),
    "+a": ("log", "dir/log"),
}
# What has its flags after a restore: directories that stay, and files that the backup lacks.
STAY = {"dir": "i", "mine": "i", "mine/x": "i", ".": "i", "dir/log": "a"}


def _fill(root: Path) -> None:
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("backup")


def _protect(root: Path) -> None:
    for name in NAMES:
        (root / name).write_text("volume")
    (root / "gone").unlink()
    (root / "mine").mkdir()
    (root / "mine/x").write_text("mine")
    with (root / "sparse").open("wb") as file:
        file.truncate(2**20)
    run("chattr", "+i", str(root / "sparse"))
    for flag, names in FLAGS.items():
        for name in names:
            run("chattr", flag, str(root / name))


def _look(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    texts = {
        name: (root / name).read_text() for name in (*NAMES, "mine/x") if (root / name).exists()
    }
    flags = {}
    for path in (root, *root.rglob("*")):
        if path.is_dir() or path.is_file():
            found = set(run("lsattr", "-d", str(path)).split()[0]) & {"i", "a"}
            if found:
                flags[str(path.relative_to(root))] = "".join(sorted(found))
    return texts, flags


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
@pytest.mark.parametrize(
    ("options", "backed_up", "flags"),
    [
        (("--keep-newer",), set(NAMES), STAY | {"sparse": "i"}),
        (("--keep-extra", "--overwrite", "if-newer", "--verify"), {"gone"}, None),
        (("--keep-extra", "--overwrite", "never"), {"gone"}, None),
        (("--overwrite", "never"), {"gone"}, "without what is extra"),
        (("--keep-extra", "--verify"), set(NAMES), STAY | {"sparse": "i"}),
    ],
    ids=["keep-newer", "if-newer", "never", "no-extra", "keep-extra"],
)
def test_protected_files_are_replaced_and_directories_protected_again(
    stage: Stage,
    fs: str,
    options: tuple[str, ...],
    backed_up: set[str],
    flags: dict[str, str] | str | None,
) -> None:
    volume = stage.site.cloud.create(name="protected")
    stage.site.cloud.fill(volume, fs, _fill)
    stage.rows("backup", "create", volume)
    stage.site.cloud.on(volume, _protect)
    _, before = stage.site.cloud.on(volume, _look, read_only=True)
    (row,) = stage.rows("restore", "create", volume, *options, "--yes")
    assert row["outcome"] == "complete", row
    texts, after = stage.site.cloud.on(volume, _look, read_only=True)
    for name in NAMES:
        assert texts[name] == ("backup" if name in backed_up else "volume"), name
    if isinstance(flags, str):
        kept = {
            name: one
            for name, one in before.items()
            if name.split("/")[0] not in ("mine", "sparse")
        }
        assert after == kept
        assert "mine/x" not in texts
    else:
        assert texts["mine/x"] == "mine"
        assert after == (before if flags is None else flags)
    # The backup knows of the flags: files of it have those that it has.
    assert row["remarks"] == []
    stage.site.cloud.on(volume, lambda root: run("chattr", "-R", "-ia", str(root)))
    stage.nothing_left()
