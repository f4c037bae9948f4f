"""What came of a run: one outcome for each volume, and one for the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The three ways in which a volume, or a run, can end."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"

    @property
    def exit_status(self) -> int:
        return {Outcome.COMPLETE: 0, Outcome.PARTIAL: 3, Outcome.FAILED: 1}[self]


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of a whole: failed if any failed, else partial if any was, else complete."""
    for outcome in (Outcome.FAILED, Outcome.PARTIAL):
        if outcome in outcomes:
            return outcome
    return Outcome.COMPLETE


@dataclass(frozen=True)
class Figures:
    """How much there was, and how much of it had to be read and stored.

    Files are counted in files of the volume, sizes in bytes. ``bytes_total`` is the size of all
    files, ``bytes_read`` what was read of the volume for it, also of its directories, and
    ``bytes_stored`` what the repository grew by before it compressed.
    """

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    bytes_total: int = 0
    bytes_read: int = 0
    bytes_stored: int = 0

    @property
    def files_total(self) -> int:
        return self.files_new + self.files_changed + self.files_unmodified

    @property
    def files_read(self) -> int:
        return self.files_new + self.files_changed


@dataclass(frozen=True)
class CopyProgress:
    """How far a copy is. A total is 0 as long as it is unknown. Sizes are in bytes."""

    files: int = 0
    files_total: int = 0
    bytes: int = 0
    bytes_total: int = 0


@dataclass(frozen=True)
class StepTime:
    """When a step was worked on.

    :ivar state: how it ended, as TaskFlow calls it: SUCCESS, FAILURE, REVERTED
    :ivar started: seconds since the epoch
    :ivar shared: whether it was done once for all volumes of a group
    """

    name: str
    state: str
    started: float
    seconds: float
    shared: bool = False


@dataclass(frozen=True)
class VolumeResult:
    """What came of one volume.

    ``target_id`` is the volume that a restore wrote to. ``unread`` names every file that could
    not be read, ``leftovers`` every temporary thing that could not be removed, ``differences``
    every property that a restored volume has not got back, and why. ``removed`` says that the
    old volume, which a restored one replaces, was removed, and ``not_removed`` why it was not,
    where that was asked for.
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
                "steps": tuple(StepTime(**step) for step in values.get("steps", ())),
            }
        )


@dataclass(frozen=True)
class LeftOut:
    """A volume that a selection by property would have covered, but for a reason.

    :ivar wanted: whether it should have been covered: a filter leaves out what nobody wants
    """

    volume_id: str
    name: str
    reason: str
    wanted: bool


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    :ivar left_out: what it did not cover though it was selected, and why
    :ivar consistent: whether the volumes of a group were snapshotted at one moment, by group id;
        None where nobody could see
    :ivar notes: what a person should know of the whole, a sentence each
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
