"""volflow's command line in a process that a test can send signals to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.site import Site


class CommandLine:
    """A command, killed at the end of the block unless it has ended.

    :param program: what Python runs
    """

    def __init__(
        self, site: Site, *arguments: str, program: tuple[str, str] = ("-m", "volflow.cli.main")
    ) -> None:
        with open(said(site), "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--config-file", str(site.config()), *arguments],
                env=site.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                cwd="/",
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def said(site: Site) -> Path:
    """The standard error of the command line."""
    return site.home / "said"


def restics(site: Site) -> list[str]:
    """The processes of restic that work for this site."""
    found = subprocess.run(["pgrep", "-af", f"restic.*{site.home}"], capture_output=True, text=True)
    return found.stdout.splitlines()


def children(pid: int) -> list[int]:
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for group in found for child in group]
