"""The results of a run: one outcome for each volume, and one for the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

# What a catalogue keeps beside the figures of a backup, in seconds since the epoch.
_FULL_READ = "full_read_at"


class Outcome(StrEnum):
    """The three ways in which a volume, or a run, can end.

    :cvar LEFT_OUT: of a volume only: it was deleted before its backup began
    :cvar UNFINISHED: of a backup only: nobody knows whether all files are in it
    """

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    LEFT_OUT = "left out"
    UNFINISHED = "unfinished"

    @property
    def exit_status(self) -> int:
        return {Outcome.COMPLETE: 0, Outcome.LEFT_OUT: 0, Outcome.FAILED: 1}.get(self, 3)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """The worst outcome: failed if one failed, else partial if one is partial, else complete."""
    for outcome in (Outcome.FAILED, Outcome.PARTIAL):
        if outcome in outcomes:
            return outcome
    return Outcome.COMPLETE


@dataclass(frozen=True)
class Figures:
    """How many files and bytes a backup contains, and how many of them were read and stored.

    Sizes are in bytes. ``bytes_total`` is the size of all files, ``bytes_read`` counts what was
    read from the volume, including directories, and ``bytes_stored`` is the growth of the
    repository before compression.
    """

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    bytes_total: int = 0
    bytes_read: int = 0
    bytes_stored: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The figures among the values that a catalogue keeps of a backup."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    @property
    def files_total(self) -> int:
        return self.files_new + self.files_changed + self.files_unmodified

    @property
    def files_read(self) -> int:
        return self.files_new + self.files_changed


def full_read(moment: datetime | None) -> dict[str, float]:
    """What a catalogue keeps beside the figures of a backup: when everything was last read.

    :param moment: the time of the data; None if it is not known
    """
    return {_FULL_READ: moment.timestamp()} if moment else {}


def full_read_of(values: Mapping[str, Any]) -> float | None:
    """When everything was last read, in seconds since the epoch; None if it is not known."""
    return values.get(_FULL_READ)


@dataclass(frozen=True)
class CopyProgress:
    """The progress of a copy. A total is 0 as long as it is unknown. Sizes are in bytes."""

    files: int = 0
    files_total: int = 0
    bytes: int = 0
    bytes_total: int = 0


@dataclass(frozen=True)
class StepTime:
    """When a step ran.

    :ivar state: how it ended, as TaskFlow calls it: SUCCESS, FAILURE, REVERTED
    :ivar started: seconds since the epoch
    :ivar shared: whether it ran once for all volumes of a group
    """

    name: str
    state: str
    started: float
    seconds: float
    shared: bool = False


@dataclass(frozen=True)
class VolumeResult:
    """The result of one volume.

    :ivar target_id: the volume that a restore wrote to
    :ivar seconds: how long it took
    :ivar unread: the files that could not be read
    :ivar leftovers: the temporary resources that could not be removed, and why
    :ivar differences: the properties that the restored volume does not have, and why
    :ivar removed: whether the old volume, which the restored one replaces, was removed
    :ivar not_removed: why it was not removed, if that was requested
    :ivar remarks: what else a person should know, one sentence each
    :ivar kept: the number of existing files that a restore kept, although the backup has them
    """

    volume_id: str
    name: str
    outcome: Outcome
    backup_id: str | None = None
    parent_id: str | None = None
    target_id: str | None = None
    figures: Figures = field(default_factory=Figures)
    seconds: float = 0.0
    unread: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    error: str | None = None
    steps: tuple[StepTime, ...] = ()
    differences: tuple[dict[str, Any], ...] = ()
    removed: bool = False
    not_removed: str | None = None
    remarks: tuple[str, ...] = ()
    kept: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"outcome": str(self.outcome)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VolumeResult:
        return cls(
            **values
            | {
                "outcome": Outcome(values["outcome"]),
                "figures": Figures(**values.get("figures", {})),
                "unread": tuple(values.get("unread", ())),
                "leftovers": tuple(values.get("leftovers", ())),
                "differences": tuple(values.get("differences", ())),
                "remarks": tuple(values.get("remarks", ())),
                "steps": tuple(StepTime(**step) for step in values.get("steps", ())),
            }
        )


@dataclass(frozen=True)
class LeftOut:
    """A selected volume that a run does not cover.

    :ivar wanted: whether the run should have covered it; False if a filter excluded it
    """

    volume_id: str
    name: str
    reason: str
    wanted: bool


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    :ivar left_out: the selected volumes that it did not cover, and why
    :ivar consistent: by group id, whether the volumes of the group were snapshotted at the same
        time; None if it is not known
    :ivar notes: what a person should know about the run, one sentence each
    """

    run_id: str
    kind: str
    volumes: tuple[VolumeResult, ...]
    left_out: tuple[LeftOut, ...] = ()
    consistent: dict[str, bool | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        missing = [Outcome.PARTIAL for one in self.left_out if one.wanted]
        return worst([*(volume.outcome for volume in self.volumes), *missing])

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "kind": self.kind,
            "outcome": str(self.outcome),
            "volumes": [volume.to_dict() for volume in self.volumes],
            "left_out": [asdict(one) for one in self.left_out],
            "consistent": self.consistent,
            "notes": list(self.notes),
        }
