"""The verdict on a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fault_matrix.case import Case


@dataclass
class Verdict:
    """The result of a case.

    :ivar outcome: the final outcome of the run; ``refused`` if it did not begin
    :ivar needed: what the operator had to do
    :ivar leaks: temporary resources that remain
    :ivar losses: data or properties that are lost or changed
    :ivar wrong: everything else that must not happen
    """

    case: Case
    outcome: str = ""
    needed: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    log: str = ""

    @property
    def good(self) -> bool:
        return not (self.leaks or self.losses or self.wrong)

    @property
    def operator(self) -> str:
        """What the operator had to do, in words."""
        verbs = [f"run {n}" if n != "clean" else "leftover clean" for n in self.needed]
        return ", ".join(verbs) or "-"

    def __str__(self) -> str:
        return (
            f"{begin(self.case, good=self.good)}{self.outcome:<8}  {self.operator:<25}"
            f"  {self.seconds:5.1f} s"
        )

    def troubles(self) -> list[str]:
        return [
            f"     {kind}: {line}"
            for kind in ("leaks", "losses", "wrong")
            for line in getattr(self, kind)
        ]


def begin(case: Case, *, good: bool) -> str:
    """The beginning of a case's line."""
    return f"{'ok' if good else 'BAD':<3}  {case!s:<124}  "


@dataclass(frozen=True)
class Before:
    """The state of everything before a case."""

    image: str
    shown: dict[str, Any]
    stored: list[str]
