"""How volflow reads the messages of restic about a copy."""

from __future__ import annotations

import json
from pathlib import Path

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
