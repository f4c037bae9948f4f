"""The progress of a restore, with its totals."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from persistence import Backup, State
from volflow.observers.totals import Totals
from volflow.results.outcome import CopyProgress

FIGURES = {"files_new": 3, "files_changed": 2, "files_unmodified": 5, "bytes_total": 1000}


def test_what_the_catalogue_knows(tmp_path: Path) -> None:
    with State.open(f"sqlite:///{tmp_path}/state.sqlite", migrate=True) as state:
        made = (datetime.now(UTC), "run", None, "complete", FIGURES)
        state.catalogue.add(Backup("b", "/r", "v", "", "", 1, *made))
        totals = Totals(state.catalogue, "b", "/r")
        assert totals.of(CopyProgress(files=4, bytes=10)) == CopyProgress(4, 10, 10, 1000)
        # restic also counts directories.
        assert totals.of(CopyProgress(files=12, bytes=900)) == CopyProgress(10, 10, 900, 1000)
        other = Totals(state.catalogue, "b", "/elsewhere")
        assert other.of(CopyProgress(files=4, bytes=10)) == CopyProgress(4, 0, 10, 0)
