"""All disks of the gallery."""

from __future__ import annotations

from tests.gallery import odd, stacks, tables, whole
from tests.gallery.exhibit import Exhibit
from tests.support import namespaces
from volflow.host.privilege import find_program


def exhibits() -> list[Exhibit]:
    """All of them, in the same order."""
    return [*whole.EXHIBITS, *tables.EXHIBITS, *stacks.EXHIBITS, *odd.EXHIBITS]


def missing(exhibit: Exhibit) -> str:
    """Why this host cannot make a disk; empty if it can."""
    absent = [each for each in exhibit.needs if not find_program(each)]
    return f"{', '.join(absent)} not installed" if absent else namespaces.missing()
