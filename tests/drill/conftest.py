"""What the drill shares with the functional tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "functional"))
sys.modules.pop("conftest", None)

from conftest import scratch  # noqa: E402

__all__ = ["scratch"]
