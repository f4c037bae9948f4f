"""Whether this host activates by itself what guests have on their volumes.

udev looks at each new device. With the rules of LVM and mdadm it activates volume groups and
assembles arrays that it finds there, also those of a guest: then the device stays busy, and two
groups of the same name are in the way of each other. See lvm.conf(5) and mdadm.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from volflow.errors import HostError
from volflow.host.privilege import Privilege, find_program

_RULES = ("etc/udev/rules.d", "lib/udev/rules.d", "usr/lib/udev/rules.d")
_LVM_RULES = ("69-lvm.rules", "69-dm-lvm.rules", "69-dm-lvm-metad.rules")
_MD_RULES = ("64-md-raid-assembly.rules",)
_MD_CONFIGS = ("etc/mdadm/mdadm.conf", "etc/mdadm.conf")
_DEVICES_FILE = "etc/lvm/devices/system.devices"
_SETTING = re.compile(r"^\s*(\w+)=(.*)$", re.MULTILINE)
# A filter that rejects what it does not name: "r|.*|", with any delimiter.
_REJECTS_ALL = re.compile(r'"r(.)\.\*\1"')
_AUTO_NONE = re.compile(r"^\s*AUTO\b.*(?<!\S)-all\b", re.MULTILINE)


def require_none(privilege: Privilege, root: Path = Path("/")) -> str:
    """Make sure that this host activates nothing of a guest; returns why it does not.

    :param root: where its file system is
    :raises HostError: it does; says what, and how to stop it
    """
    if not (root / "run/udev/control").exists():
        return "nothing of a guest is activated: no udev runs here"
    troubles = [each for each in (_lvm(privilege, root), _mdadm(root)) if each]
    if troubles:
        raise HostError(" ".join(troubles))
    return "nothing of a guest is activated by LVM or mdadm"


def _lvm(privilege: Privilege, root: Path) -> str:
    if not _has(root, _LVM_RULES) or find_program("lvmconfig") is None:
        return ""
    done = privilege.attempt("lvmconfig", "--typeconfig", "full")
    if done.returncode:
        return f"Whether LVM activates groups of guests is unknown: {done.stderr.strip()}"
    settings = dict(_SETTING.findall(done.stdout))
    if settings.get("event_activation") == "0" or "auto_activation_volume_list" in settings:
        return ""
    if settings.get("use_devicesfile") == "1" and (root / _DEVICES_FILE).exists():
        return ""
    filters = settings.get("global_filter", "") + settings.get("filter", "")
    if _REJECTS_ALL.search(filters):
        return ""
    return (
        "LVM activates the volume groups of guests as soon as their volumes are attached. Let it "
        "use only the disks of this host: set global_filter in /etc/lvm/lvm.conf, such as "
        '[ "a|^/dev/vda|", "r|.*|" ], or use_devicesfile = 1 after \'vgimportdevices --all\'.'
    )


def _mdadm(root: Path) -> str:
    if not _has(root, _MD_RULES):
        return ""
    for name in _MD_CONFIGS:
        try:
            if _AUTO_NONE.search((root / name).read_text(encoding="utf-8", errors="replace")):
                return ""
        except FileNotFoundError:
            continue
    return (
        "mdadm assembles the arrays of guests as soon as their volumes are attached. Write "
        "'AUTO -all' into /etc/mdadm/mdadm.conf; arrays that are listed there are still assembled."
    )


def _has(root: Path, names: Sequence[str]) -> bool:
    """Whether udev has one of these files of rules, which an empty one in /etc can switch off."""
    for name in names:
        for directory in _RULES:
            file = root / directory / name
            if file.exists():
                if file.stat().st_size:
                    return True
                break
    return False
