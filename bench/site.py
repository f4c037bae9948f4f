"""The set-up of a benchmark: a lab with one filled volume, and a repository for each program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import baseline_script, tree
from lab import Lab

_GIB = 2**30
# Imports everything that a backup imports.
_LOAD_VOLFLOW = """
import pkgutil
from volflow.cli.main import without_eventlet
without_eventlet()
import volflow, persistence, alembic.command, rich.live
for package in (volflow, persistence):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations." not in module.name and not module.name.endswith("__main__"):
            __import__(module.name)
"""


def on_tree(*arguments: object) -> list[str]:
    """The command line that runs ``bench.tree`` from any directory."""
    return [sys.executable, tree.__file__, *map(str, arguments)]


class Site:
    """A volume of a lab, and what the two programs need to back it up.

    :param directory: an empty directory for everything
    """

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self._directory = directory
        self._password = directory / "password"
        self._password.write_text("correct horse battery staple\n")
        # Ignore the user's own cloud and configuration.
        own = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "RESTIC_"))}
        # Compile the modules of both programs once, as an installation does.
        own.pop("PYTHONDONTWRITEBYTECODE", None)
        self._base = (
            own
            | lab.environment
            | {
                "XDG_CONFIG_HOME": str(directory / "config"),
                "PYTHONPYCACHEPREFIX": str(directory / "compiled"),
            }
        )
        for load in (f"import runpy; runpy.run_path({baseline_script.__file__!r})", _LOAD_VOLFLOW):
            self._run([sys.executable, "-c", load], self._base)
        self.volume_id = ""

    def fill(self, files: int, size: int) -> None:
        """Create the volume.

        :param files: number of files on it
        :param size: total bytes of the files
        """
        cinder = self._lab.cinder()
        # Room for the file system itself, and for the unused ends of the last blocks of files.
        gib = -(-(size + files * 4096) * 5 // (4 * _GIB))
        made = cinder.volumes.create(gib, name="bench")
        baseline_script.wait_until(lambda: cinder.volumes.get(made.id), "available")
        baseline_script.set_up_brick(self._directory / "locks")
        mount_point = self._directory / "fill"
        mount_point.mkdir()
        with baseline_script.attached(cinder, made.id) as device:
            # More inodes than by default, for trees of very small files.
            subprocess.run(["mkfs.ext4", "-q", "-i", "8192", device], check=True)
            command = on_tree("make", ".", files, size)
            if baseline_script.mounted(device, mount_point, "rw,noatime", *command):
                raise RuntimeError("The volume could not be filled.")
        self.volume_id = made.id

    def forget(self) -> None:
        """Start again with empty repositories and empty caches."""
        for side in ("volflow", "by-hand"):
            home = self._directory / side
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
        self._configuration.write_text(
            f"[DEFAULT]\nstate_dir = {self._directory / 'volflow' / 'state'}\n"
            f"[repository]\nlocation = {self._repository('volflow')}\n"
            f"password_file = {self._password}\n"
        )
        # The state database is created once on a host, so its creation is not measured.
        for command in (["repository", "init"], ["run", "list"]):
            self._run(self.volflow(*command), self._base)
        self._run(["restic", "init"], self.by_hand_environment)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of volflow."""
        return self._base

    @property
    def by_hand_environment(self) -> dict[str, str]:
        """The environment of the script, and of a restic on its repository."""
        return self._base | {
            "RESTIC_REPOSITORY": str(self._repository("by-hand")),
            "RESTIC_PASSWORD_FILE": str(self._password),
            "RESTIC_CACHE_DIR": str(self._directory / "by-hand" / "cache"),
        }

    def volflow(self, *arguments: str) -> list[str]:
        """The command line of volflow."""
        program = Path(sys.executable).with_name("volflow")
        return [str(program), "--config-file", str(self._configuration), *arguments]

    def by_hand(self, *options: str) -> list[str]:
        """The command line of the script."""
        home = self._directory / "by-hand"
        return [sys.executable, baseline_script.__file__, self.volume_id, str(home), *options]

    def snapshots(self) -> dict[str, list[dict[str, Any]]]:
        """The snapshots in each repository, to check that both programs stored a backup."""
        found = {}
        for side in ("volflow", "by-hand"):
            environment = self.by_hand_environment | {
                "RESTIC_REPOSITORY": str(self._repository(side))
            }
            done = subprocess.run(
                ["restic", "snapshots", "--json"],
                env=environment,
                check=True,
                capture_output=True,
            )
            found[side] = json.loads(done.stdout) or []
        return found

    @property
    def _configuration(self) -> Path:
        return self._directory / "volflow" / "volflow.conf"

    def _repository(self, side: str) -> Path:
        return self._directory / side / "repository"

    @staticmethod
    def _run(command: list[str], environment: dict[str, str]) -> None:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
