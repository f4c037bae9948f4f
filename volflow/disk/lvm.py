"""Takes an LVM physical volume apart, without activating anything of it.

A logical volume of one linear piece is a range of the device. Where a volume group has one
physical volume, and all of its logical volumes are such ranges, each can be stored by itself.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from volflow.disk import lvm_areas, lvm_text
from volflow.disk.layout import Part, Role
from volflow.disk.lvm_text import Section
from volflow.errors import DiskError
from volflow.host.privilege import Privilege
from volflow.printable import printable

_AREAS = (sys.executable, "-I", "-S", lvm_areas.__file__)
# Logical volumes of one volume group, and pieces of one of them.
_VOLUMES, _SEGMENTS = 256, 256
# LVM counts in sectors of this size, whatever the device has.
_SECTOR = 512
# lvm(8): "Valid names".
_NAME = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,127}", re.ASCII)
# What may be said of a logical volume that is a plain range.
_PLAIN = {"READ", "WRITE", "VISIBLE", "FIXED_MINOR"}
_LARGEST = 2**62


class _Different(Exception):
    """Why it cannot be taken apart."""


def find(privilege: Privilege, device: str, start: int, size: int) -> tuple[Part, ...] | str:
    """The logical volumes of a physical volume, and all the rest of it.

    :param start: its first byte on the device
    :param size: its bytes
    :returns: parts that cover it exactly; or why it has to stay in one piece, in a clause
    :raises DiskError: the device could not be read
    """
    done = privilege.attempt(*_AREAS, device, str(start), str(size))
    if done.returncode:
        raise DiskError(f"The volume could not be read: {printable(done.stderr.strip())}")
    found = json.loads(done.stdout)
    try:
        group = _newest(found)
        volumes = _volumes(group, str(found["id"]), size)
        _require_apart(volumes, [(int(at), int(length)) for at, length in found["areas"]])
    except _Different as error:
        return str(error)
    return tuple(_parts(volumes, start, size))


def _newest(found: dict[str, Any]) -> Section:
    """The metadata with the highest number, and the name of the group in it."""
    if not found["id"]:
        raise _Different("it has no sound LVM label")
    damage, groups = "", []
    for each in found["texts"]:
        try:
            if each["damage"]:
                raise _Different(each["damage"])
            groups.append(_group(each["text"]))
        except _Different as error:
            damage = str(error)
    if not groups:
        raise _Different(damage or "it belongs to no volume group, or holds no metadata of it")
    return max(groups, key=lambda group: _number(group, "seqno"))


def _group(text: str) -> Section:
    try:
        tree = lvm_text.parse(text)
    except ValueError as error:
        raise _Different(f"its metadata cannot be read ({printable(str(error))})") from error
    named = [(name, value) for name, value in tree.items() if isinstance(value, dict)]
    if len(named) != 1 or not _NAME.fullmatch(named[0][0]):
        raise _Different("its metadata is not that of one volume group")
    ((name, group),) = named
    if group.get("format", "lvm2") != "lvm2":
        raise _Different("its metadata has another format than lvm2")
    _number(group, "seqno")
    return {**group, "name": name}


def _volumes(group: Section, own: str, size: int) -> list[Part]:
    """The logical volumes, in the order of their place, which counts from the physical volume."""
    physical = _section(group, "physical_volumes")
    if len(physical) != 1:
        raise _Different(f"its volume group has {len(physical)} physical volumes")
    ((key, pv),) = physical.items()
    if not isinstance(pv, dict) or str(pv.get("id", "")).replace("-", "") != own:
        raise _Different("the physical volume in its metadata is another one")
    if _texts(pv, "flags") or "MISSING" in _texts(pv, "status"):
        raise _Different("its physical volume is marked as missing")
    extent = _number(group, "extent_size") * _SECTOR
    first = _number(pv, "pe_start") * _SECTOR
    count = _number(pv, "pe_count")
    if not extent or first + count * extent > size:
        raise _Different("its metadata names more space than there is")
    logical = _section(group, "logical_volumes") if "logical_volumes" in group else {}
    if len(logical) > _VOLUMES:
        raise _Different(f"it has {len(logical)} logical volumes, more than {_VOLUMES}")
    if not logical:
        raise _Different("it has no logical volumes")
    found = []
    for name, volume in logical.items():
        if not isinstance(volume, dict) or not _NAME.fullmatch(name):
            raise _Different("its metadata makes no sense")
        place, length = _extents(name, volume, key)
        if not 0 <= place < place + length <= count:
            raise _Different(f"the logical volume {name} is not on the physical volume")
        where = (first + place * extent, length * extent)
        found.append(Part(*where, Role.VOLUME, name=f"{group['name']}/{name}"))
    return sorted(found, key=lambda each: each.start)


def _extents(name: str, volume: Section, key: str) -> tuple[int, int]:
    """The first extent of a logical volume on the physical volume, and their number."""
    odd = _texts(volume, "status") - _PLAIN
    if odd or "VISIBLE" not in _texts(volume, "status"):
        said = ", ".join(sorted(map(printable, odd)))[:100] or "hidden"
        raise _Different(f"the logical volume {name} is not a plain one: {said}")
    segments = _number(volume, "segment_count")
    if not 0 < segments <= _SEGMENTS:
        raise _Different(f"the logical volume {name} has {segments} pieces")
    first = length = 0
    for number in range(1, segments + 1):
        segment = _section(volume, f"segment{number}")
        kind = segment.get("type")
        if kind != "striped" or _number(segment, "stripe_count") != 1:
            said = "striped over several places" if kind == "striped" else f"of the type '{kind}'"
            raise _Different(f"the logical volume {name} is {printable(said)[:100]}, not linear")
        stripes = segment.get("stripes")
        if not isinstance(stripes, list) or len(stripes) != 2 or stripes[0] != key:
            raise _Different(f"the logical volume {name} is not on the physical volume")
        place = stripes[1]
        if not isinstance(place, int) or _number(segment, "start_extent") != length:
            raise _Different(f"the pieces of the logical volume {name} make no sense")
        if number == 1:
            first = place
        elif place != first + length:
            raise _Different(f"the logical volume {name} is in several pieces")
        length += _number(segment, "extent_count")
    return first, length


def _require_apart(volumes: Sequence[Part], areas: Sequence[tuple[int, int]]) -> None:
    """Logical volumes lie beside each other, and beside what describes them."""
    # The label is in one of the first four sectors.
    taken = [Part(0, 4 * _SECTOR, Role.METADATA)]
    taken += [Part(at, length, Role.METADATA) for at, length in areas]
    end = 0
    for each in volumes:
        if each.start < end or any(
            each.start < other.end and other.start < each.end for other in taken
        ):
            raise _Different(f"the logical volume {each.name} covers something else")
        end = each.end


def _parts(volumes: Sequence[Part], start: int, size: int) -> Iterator[Part]:
    at = 0
    for each in volumes:
        if at < each.start:
            yield Part(start + at, each.start - at, Role.METADATA)
        yield Part(start + each.start, each.size, Role.VOLUME, name=each.name)
        at = each.end
    if at < size:
        yield Part(start + at, size - at, Role.METADATA)


def _section(values: Section, name: str) -> Section:
    found = values.get(name)
    if not isinstance(found, dict):
        raise _Different(f"its metadata has no '{name}'")
    return found


def _number(values: Section, name: str) -> int:
    found = values.get(name)
    if not isinstance(found, int) or not 0 <= found < _LARGEST:
        raise _Different(f"its metadata has no sound '{name}'")
    return found


def _texts(values: Section, name: str) -> set[str]:
    found = values.get(name, [])
    if isinstance(found, dict):
        raise _Different(f"its metadata has no sound '{name}'")
    return set(map(str, found)) if isinstance(found, list) else {str(found)}
