"""What a mover must leave out of a backup, and what it must not count."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.repositories import Subject
from tests.support.saving import REGION, TAGS, confirm, directory_namespace
from volflow.movers.base import ATTRIBUTES, MANIFEST, MountedTree, Saved

# Names that patterns, variables and lines of a file could change.
ODD = ("plain", "*", "a?[b]", "back\\slash", "$HOME", "two\nlines", "space at the end ", "#", "!x")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Directories with odd names; beside each, one with a name that a pattern could mean too."""
    root = tmp_path / "tree"
    for name in ODD:
        (root / "in" / name / "below").mkdir(parents=True)
        (root / "in" / name / "below" / "file").write_text("left out")
        (root / name / "below").mkdir(parents=True)
        (root / name / "below" / "file").write_text("stored")
    (root / "in" / "abb").mkdir()
    (root / "in" / "space at the end").mkdir()
    return root


def _save(subject: Subject, tree: Path, *trees: MountedTree, parent: str | None = None) -> Saved:
    with directory_namespace(tree) as namespace:
        namespace.write(namespace.root / MANIFEST, "{}")
        namespace.run("mkdir", namespace.root / ATTRIBUTES)
        namespace.write(namespace.root / ATTRIBUTES / "0", f"attributes {parent}\n")
        saved = subject.mover.save(
            namespace,
            trees,
            volume_id="v",
            tags=TAGS,
            listed_at=datetime.now(UTC),
            parent_id=parent,
            progress=lambda _: None,
            stopping=threading.Event(),
        )
        confirm(subject.mover, namespace, saved, tags=TAGS)
    return saved


def test_what_a_tree_leaves_out_is_not_stored(subject: Subject, tree: Path) -> None:
    without = MountedTree(REGION, tuple(f"in/{name}" for name in ODD))
    saved = _save(subject, tree, without)
    assert saved.unread == ()
    nodes = subject.repository.nodes(saved.id, REGION, recursive=True)
    found = {node.path.removeprefix(f"/{REGION}/") for node in nodes}
    assert {path for path in found if path.startswith("in/")} == {"in/abb", "in/space at the end"}
    assert {path for path in found if path.endswith("/file")} == {f"{n}/below/file" for n in ODD}


def test_files_beside_the_volume_are_stored_and_not_counted(subject: Subject, tree: Path) -> None:
    trees = (MountedTree(REGION), MountedTree(ATTRIBUTES / "0"))
    saved = _save(subject, tree, *trees)
    files = 2 * len(ODD)
    counted = (saved.figures.files_new, saved.figures.files_changed)
    assert counted == (files, 0)
    assert saved.figures.bytes_total == sum(p.stat().st_size for p in tree.rglob("file"))
    second = _save(subject, tree, *trees, parent=saved.id)
    figures = second.figures
    assert (figures.files_new, figures.files_changed, figures.files_unmodified) == (0, 0, files)
    (node,) = subject.repository.nodes(second.id, ATTRIBUTES / "0")
    assert node.type == "file"
