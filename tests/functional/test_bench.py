"""The stand-ins of the benchmark still fit volflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_run_over_stand_in_volumes_is_complete(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.orchestration_worker", "3", str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cpu"] > 0
