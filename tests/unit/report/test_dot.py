"""The graph of a run as text for Graphviz."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.support.reports import (
    hostile_graph,
)
from volflow.report import dot


def test_the_graph_for_graphviz() -> None:
    text = dot.dot(hostile_graph())
    # A quote inside a string has a backslash before it.
    quoted = re.compile(r'"(?:[^"\\]|\\.)*"')
    bare = quoted.sub("", text)
    assert '"' not in bare
    assert "script" not in bare
    assert bare.count("{") == bare.count("}")
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", text)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_accepts_the_graph() -> None:
    done = subprocess.run(
        ["dot", "-Tsvg"],
        input=dot.dot(hostile_graph()),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "alert(1)" in done.stdout
