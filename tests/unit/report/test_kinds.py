"""Every step has a kind, which determines its colour."""

from __future__ import annotations

import pytest

from volflow.report.kinds import Kind, kind_of


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("copy", Kind.COPY),
        ("group snapshot", Kind.SNAPSHOT),
        ("temporary volume", Kind.VOLUME),
        ("attachment", Kind.ATTACH),
        ("mount", Kind.ATTACH),
        ("unmount", Kind.CLEAN),
        ("remove temporary volume", Kind.CLEAN),
        ("wait for others", Kind.WAIT),
        ("what comes in a later release", Kind.OTHER),
    ],
)
def test_each_step_has_its_kind(step: str, kind: Kind) -> None:
    assert kind_of(step) is kind
