"""A device that is not the volume: nothing is read from it, and nothing is written to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.support.cloud import run
from tests.support.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

CONNECT = "volflow.host.connector.Connector.connect"


@contextmanager
def connecting(change: Callable[[str], str]) -> Iterator[None]:
    """Change the device that os-brick returns.

    :param change: takes the right device, and returns the one that volflow gets
    """
    from volflow.host.connector import Connector

    connect = Connector.connect

    def changed(self: Connector, connection: dict[str, Any]) -> dict[str, Any]:
        info = connect(self, connection)
        return info | {"path": change(info["path"])}

    with mock.patch(CONNECT, changed):
        yield


class Other:
    """A volume of somebody else."""

    def __init__(self, site: Site, pool: Path) -> None:
        self._site = site
        self.volume = site.cloud.create(name="other")
        site.cloud.fill(self.volume, "ext4", lambda root: (root / "secret").write_text("theirs\n"))
        self.image = pool / f"volume-{self.volume}"
        self._before = self._digest()

    def _digest(self) -> str:
        return hashlib.sha256(self.image.read_bytes()).hexdigest()

    @property
    def unchanged(self) -> bool:
        return self._digest() == self._before

    @contextmanager
    def device(self) -> Iterator[str]:
        """A device of the volume."""
        from lab import loop

        found = loop.attach(self.image)
        try:
            yield str(found)
        finally:
            for each in loop.of_file(self.image):
                assert loop.detach(each)


@pytest.fixture
def other(site: Site, the_lab: Any) -> Other:
    return Other(site, the_lab.directory.pool_mount)


def _refused(site: Site, volume: str, why: str) -> None:
    """Backup and restore refuse for this reason, and nothing is stored or left over."""
    stored = site.stored()
    for result in (site.backup(volume), site.restore(volume), site.restore(volume, new=True)):
        assert str(result.outcome) == "failed", result
        assert why in result.volumes[0].error
        assert "Nothing was read from it or written to it" in result.volumes[0].error
        assert result.volumes[0].leftovers == ()
    assert site.stored() == stored


def test_a_device_from_before_the_attachment_is_refused(
    site: Site, volume: str, other: Other
) -> None:
    with other.device() as device, connecting(lambda right: device):
        _refused(site, volume, "existed before the volume was attached")
    assert other.unchanged


def test_a_new_device_of_another_volume_is_refused(site: Site, volume: str, other: Other) -> None:
    from lab import loop

    def swapped(right: str) -> str:
        return str(loop.attach(other.image))

    try:
        with connecting(swapped):
            _refused(site, volume, f"it is that of volume {other.volume}")
    finally:
        for each in loop.of_file(other.image):
            loop.detach(each)
    assert other.unchanged


def test_a_new_volume_that_is_not_blank_is_refused(site: Site, volume: str) -> None:
    def formatted(right: str) -> str:
        run("mkfs.xfs", "-q", "-L", "theirs", right)
        return right

    with connecting(formatted):
        result = site.restore(volume, new=True)
    assert str(result.outcome) == "failed", result
    error = str(result.volumes[0].error)
    assert "should be blank, but its device" in error
    assert "has xfs 'theirs' with the UUID" in error


def test_a_restore_tells_that_another_file_system_was_there(site: Site, volume: str) -> None:
    site.cloud.format(volume, "ext4", "-F", "-L", "later")
    result = site.restore(volume)
    assert str(result.outcome) == "complete", result
    (remark,) = result.volumes[0].remarks
    assert remark.startswith("before the restore the volume had ext4 'later' with the UUID")
    assert result.volumes[0].figures.files_total == 20
    assert site.restore(volume).volumes[0].remarks == ()
