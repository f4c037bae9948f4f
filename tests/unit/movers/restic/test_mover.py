"""How volflow reads the messages of restic about a copy."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tests.support.restic import program
from volflow.movers.restic import mover


def test_the_files_that_could_not_be_read_are_named() -> None:
    lines = [
        "a warning that is no JSON",
        json.dumps({"message_type": "error", "item": "/m/regions/0/a b", "error": {"Op": "read"}}),
        json.dumps({"message_type": "error", "item": "/m/regions/0/a b", "error": {"Op": "open"}}),
        json.dumps({"message_type": "status", "item": "/m/regions/0/c"}),
        json.dumps({"message_type": "error", "item": "", "error": "something else"}),
    ]
    assert mover._unread(lines, Path("/m")) == ("regions/0/a b", "something else")
    # The exit status says that a file was not read, though no message names it.
    assert mover._unread(["what nobody expects"], Path("/m")) == (mover._UNNAMED,)


def test_restic_gets_the_time_of_the_data_in_its_own_time_zone(tmp_path: Path) -> None:
    taken = datetime(2026, 11, 1, 1, 30, 59, 999999, tzinfo=timezone(timedelta(hours=5)))
    command = mover._backup("host", {"name": "n"}, taken)
    assert command[command.index("--time") + 1] == "2026-10-31 20:30:59"
    assert program(tmp_path)._environment()["TZ"] == "UTC"
