"""The bounds that hold in every case: time, memory, and the size of the state database."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fault_matrix.state_reader import StateReader
from tests.support.volflow_process import Answer

# A command without an outage takes seconds; this is for a busy machine.
SECONDS = 150.0
# A command that does not end after this counts as hung, and is killed.
HUNG = 300.0
# The memory of volflow itself, without restic.
PEAK_MIB = 200.0
# By how many bytes a run may let the state database grow.
GROWTH = 1_000_000


def exceeded(verb: str, answer: Answer) -> Iterator[str]:
    """The bounds that a command has exceeded.

    :param verb: what the command did
    """
    if answer.seconds > SECONDS:
        yield f"{verb} took {answer.seconds:.0f} s, more than {SECONDS:.0f}"
    if answer.peak_mib > PEAK_MIB:
        yield f"{verb} took {answer.peak_mib:.0f} MiB of memory, more than {PEAK_MIB:.0f}"


def grown(state: StateReader, before: int) -> Iterator[str]:
    """By how much the state database has grown, if by too much.

    :param before: its size in bytes before the run
    """
    growth = state.size() - before
    if growth > GROWTH:
        yield f"the state database grew by {growth / 1e6:.1f} MB, more than {GROWTH / 1e6:.1f}"
