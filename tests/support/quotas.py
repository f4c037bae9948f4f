"""A Cinder with little quota left, for tests of plans."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.fake_cinder import FakeClient
from volflow.cloud.cinder import Cinder
from volflow.plans.quota import VolumeSize


def cinder(
    types: Mapping[str, Mapping[str, int]] | None = None,
    *,
    project_id: str = "a project",
    **left: int,
) -> Cinder:
    """The Cinder of a project with this free quota; no limit where none is given.

    :param types: the free quotas of volume types
    :param left: ``volumes``, ``snapshots`` and ``gigabytes``
    """
    client = FakeClient()
    client.leave(**left)
    for name, of_type in (types or {}).items():
        client.leave(volume_type=name, **of_type)
    return client.cinder(project_id)


def sizes(*gib: int, volume_type: str = "slow") -> list[VolumeSize]:
    return [VolumeSize(size, volume_type) for size in gib]
