"""doctor says how to keep a host from activating what guests have on their volumes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from volflow.errors import HostError
from volflow.host import activation
from volflow.host.activation import require_none
from volflow.host.privilege import Privilege

DEFAULTS = "global {\n\tevent_activation=1\n}\ndevices {\n\tuse_devicesfile=0\n"
LVM, MDADM = "LVM activates the volume groups of guests", "mdadm assembles the arrays of guests"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with udev and the rules of both."""
    monkeypatch.setattr(activation, "find_program", lambda name: f"/sbin/{name}")
    put(tmp_path, "run/udev/control", "")
    put(tmp_path, "lib/udev/rules.d/69-lvm.rules", "rules")
    put(tmp_path, "usr/lib/udev/rules.d/64-md-raid-assembly.rules", "rules")
    return tmp_path


def put(host: Path, name: str, text: str) -> None:
    file = host / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def having(settings: str) -> Privilege:
    done = SimpleNamespace(returncode=0, stdout=settings, stderr="")
    return cast(Any, SimpleNamespace(attempt=lambda *_: done))


def test_a_host_with_the_rules_of_both_activates_guests(host: Path) -> None:
    with pytest.raises(HostError, match=f"{LVM}.*{MDADM}"):
        require_none(having(DEFAULTS), host)


def test_a_host_without_udev_activates_nothing(host: Path) -> None:
    (host / "run/udev/control").unlink()
    assert "no udev" in require_none(having(DEFAULTS), host)


@pytest.mark.parametrize(
    "setting",
    [
        "\tevent_activation=0\n",
        '\tglobal_filter=["a|^/dev/vda|","r|.*|"]\n',
        '\tfilter=["a/sda/","r/.*/"]\n',
        '\tauto_activation_volume_list=["vg0"]\n',
    ],
)
def test_a_setting_of_lvm_that_spares_guests_is_enough(host: Path, setting: str) -> None:
    put(host, "etc/mdadm/mdadm.conf", "# nothing else\nAUTO +imsm -all\n")
    assert require_none(having(DEFAULTS + setting), host)


def test_a_filter_that_lets_guests_through_is_not_enough(host: Path) -> None:
    with pytest.raises(HostError, match=LVM):
        require_none(having(f'{DEFAULTS}\tfilter=["a|.*|"]\n'), host)


def test_a_devices_file_counts_only_if_it_exists(host: Path) -> None:
    settings = DEFAULTS + "\tuse_devicesfile=1\n"
    with pytest.raises(HostError, match=LVM):
        require_none(having(settings), host)
    put(host, "etc/lvm/devices/system.devices", "")
    with pytest.raises(HostError, match=f"^{MDADM}"):
        require_none(having(settings), host)


def test_rules_that_are_switched_off_do_not_count(host: Path) -> None:
    put(host, "etc/udev/rules.d/69-lvm.rules", "")
    put(host, "etc/udev/rules.d/64-md-raid-assembly.rules", "")
    assert require_none(having(DEFAULTS), host)
