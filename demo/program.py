"""The program ``volflow``, as a user runs it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo.narrator import Narrator

# Seconds that an interrupted command may take to end.
_PATIENCE = 60.0


class ProgramError(Exception):
    """volflow's exit status is not 0."""


class Program:
    """volflow, with a configuration and a cloud of its own.

    :param directory: holds the repository, the configuration and the state
    :param cloud: environment variables by which OpenStack's programs find the cloud
    """

    def __init__(self, narrator: Narrator, directory: Path, cloud: Mapping[str, str]) -> None:
        self._narrator = narrator
        self.repository = directory / "repository"
        self.state = directory / "state"
        self.configuration = directory / "config" / "volflow" / "volflow.conf"
        password = directory / "password"
        password.write_text("correct horse battery staple\n")
        self.configuration.parent.mkdir(parents=True)
        self.configuration.write_text(
            f"[DEFAULT]\nstate_dir = {self.state}\n"
            f"[repository]\nlocation = {self.repository}\npassword_file = {password}\n"
        )
        # Do not use the user's own cloud and configuration.
        own = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "RESTIC_"))}
        self._environment = {
            **own,
            **cloud,
            "XDG_CONFIG_HOME": str(directory / "config"),
        }

    def run(self, *arguments: str) -> None:
        """Run a command and show its output.

        :raises ProgramError: it failed
        """
        self._narrator.command(["volflow", *arguments])
        self._finish(self._start(*arguments), arguments)

    def ask(self, *arguments: str) -> Any:
        """Run a command and return its output as data.

        :raises ProgramError: it failed
        """
        process = self._start(*arguments, "-f", "json", output=subprocess.PIPE)
        return json.loads(self._finish(process, arguments))

    def _start(self, *arguments: str, output: int | None = None) -> subprocess.Popen[str]:
        sys.stdout.flush()
        # In a session of its own, so that Ctrl-C reaches it through us, once.
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("volflow")), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            env=self._environment,
            encoding="utf-8",
            start_new_session=True,
        )

    def _finish(self, process: subprocess.Popen[str], arguments: tuple[str, ...]) -> str:
        try:
            output, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
        if process.returncode:
            raise ProgramError(
                f"'{shlex.join(['volflow', *arguments])}' ended with {process.returncode}"
            )
        return output or ""
