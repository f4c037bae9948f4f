"""A stand-in for a guest: commands that write down when it is frozen and thawed."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.support.waiting import until


class Guest:
    """The commands of ``[quiesce]`` in tests: what they do, and the environment that they get.

    :param directory: for the commands and their notes
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.log = directory / "guest.log"
        self.log.touch()
        self.pre, self.post = self.command("pre"), self.command("post")

    def command(self, stage: str, *lines: str) -> str:
        """Write the command of a stage; it notes the stage, then runs these lines of shell."""
        file = self._directory / f"{stage}-command"
        told = self._directory / stage
        fresh = file.with_suffix(".new")
        text = [
            "#!/bin/sh",
            f"env -0 > {told}.env",
            f'echo "$VOLFLOW_QUIESCE" >> {self.log}',
            *lines,
        ]
        fresh.write_text("\n".join(text) + "\n")
        fresh.chmod(stat.S_IRWXU)
        fresh.replace(file)
        return str(file)

    def note(self, word: str) -> str:
        """A line of shell that notes a word."""
        return f"echo {word} >> {self.log}"

    def events(self) -> list[str]:
        """What was noted, in order."""
        return self.log.read_text().split()

    def wait(self, *events: str) -> None:
        """Wait until exactly this was noted."""
        until(lambda: self.events() == list(events))

    def told(self, stage: str) -> dict[str, str]:
        """The variables of volflow that a command has found, without those of the tests."""
        pairs = (self._directory / f"{stage}.env").read_text().split("\0")
        found = dict(pair.split("=", 1) for pair in pairs if pair)
        return {
            name: value
            for name, value in found.items()
            if name.startswith("VOLFLOW_") and not name.startswith("VOLFLOW_TEST")
        }
