"""What a step noticed that a person should know, for the result of its volume."""

from __future__ import annotations

from enum import StrEnum

from persistence import Ledger
from volflow.cloud.marks import tag
from volflow.tasks.work import Work


class Remark(StrEnum):
    """The subjects of remarks: a volume has at most one of each. Stored runs have them."""

    FILE_SYSTEM = "file system"
    MARKS = "marks"
    IMAGES = "images"
    ERRORS = "errors"
    SIZE = "size"
    FEATURES = "features"
    LAST_MOUNT = "last mount"
    COPIED_BACK = "copied back"
    COPIES = "copies"
    MISSING = "missing files"
    FLAGS = "inode flags"
    SOCKETS = "sockets"
    TIMES = "times"
    FULL_READ = "full read"
    QUIESCE = "quiesce"
    ATTRIBUTES = "attributes"
    ENCRYPTED = "encrypted directories"

    def of(self, work: Work, text: str) -> None:
        """Record a remark. A resumed run keeps it, or replaces it."""
        work.record(f"remark on {self}", text=text)

    def read(self, work: Work) -> str | None:
        """The remark that was recorded; None if there is none."""
        entry = work.services.ledger.find(work.tag(f"remark on {self}"))
        return str(entry.details["text"]) if entry else None


def remarks(ledger: Ledger, run_id: str, volume_id: str) -> tuple[str, ...]:
    """The remarks on a volume of a run."""
    tags = [tag(run_id, volume_id, f"remark on {each}") for each in Remark]
    found = ledger.find_all(tags)
    return tuple(str(found[each].details["text"]) for each in tags if each in found)
