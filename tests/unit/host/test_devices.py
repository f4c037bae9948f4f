"""The block devices under a directory."""

from __future__ import annotations

from pathlib import Path

from volflow.host.devices import devices_below


def test_a_directory_to_be_created_is_on_the_devices_of_its_parent(tmp_path: Path) -> None:
    assert devices_below(tmp_path / "not" / "yet") == devices_below(tmp_path)


def test_every_device_below_a_directory_exists_in_sysfs(tmp_path: Path) -> None:
    found = {Path(device).name for device in devices_below(tmp_path)}
    assert found <= {path.name for path in Path("/sys/class/block").iterdir()}


def test_a_directory_in_memory_is_on_no_device() -> None:
    assert devices_below(Path("/proc")) == set()
