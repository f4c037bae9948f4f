"""Images in a repository of restic, for tests of the mover that writes its format."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import repository
from volflow.movers.native import program
from volflow.movers.native.crypto import Key
from volflow.movers.native.store import Store

PASSWORD = "secret"
WHEN = "2026-11-01T12:00:00Z"


class Place:
    """A repository, and a directory with a manifest and a tree.

    :param directory: an empty directory
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.repository = directory / "repository"
        repository.make(self.repository, PASSWORD)
        self.key: dict[str, Any] = json.loads(self.restic("cat", "masterkey"))
        self.maps = directory / "maps"
        tree = directory / "namespace/regions/0"
        tree.mkdir(parents=True)
        (tree / "file").write_text("content\n")
        (directory / "namespace/manifest.json").write_text("{}")

    def restic(self, *command: str, restic: str = "restic", cwd: Path | None = None) -> bytes:
        """Run restic; returns its output."""
        environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD}
        done = subprocess.run(
            [restic, "--no-cache", "--repo", str(self.repository), *command],
            env=environment,
            cwd=cwd,
            capture_output=True,
        )
        if done.returncode:
            raise AssertionError(done.stdout.decode() + done.stderr.decode())
        return done.stdout

    def snapshot(self, *paths: str) -> str:
        """Store the tree and the manifest with restic, or some of them."""
        paths = paths or ("regions", "manifest.json")
        options = ("--json", "--force", "--host", "volume", "--tag=volflow,stored=1")
        said = self.restic("backup", *options, *paths, cwd=self.directory / "namespace")
        short = str(json.loads(said.splitlines()[-1])["snapshot_id"])
        return self.store().snapshots.full_id(short)

    def store(self) -> Store:
        return Store(self.repository, Key.of(self.key))

    def image(self, content: bytes, name: str = "2.img") -> dict[str, Any]:
        """An image with this content, as it stands in a job."""
        path = self.directory / f"device-{name}"
        path.write_bytes(content)
        return {
            "path": f"regions/{name}",
            "device": str(path),
            "start": 0,
            "size": len(content),
        }

    def job(
        self, action: str, snapshot: str, *images: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        """A job for the program."""
        return {
            "action": action,
            "repository": str(self.repository),
            "key": self.key,
            "images": list(images),
            "snapshot": snapshot,
            "maps": str(self.maps),
            "volume": "volume",
            "time": WHEN,
            **more,
        }

    def run(self, action: str, snapshot: str, *images: dict[str, Any], **more: Any) -> Any:
        """Do a job in this process; returns its summary."""
        said: list[Any] = []
        program.run(self.job(action, snapshot, *images, **more), said.append)
        return said[-1]["summary"]

    def save(self, *images: dict[str, Any], **more: Any) -> Any:
        """Store images; returns the summary."""
        return self.run("save", self.snapshot(), *images, **more)

    def target(self, image: dict[str, Any], fill: bytes = b"\xff") -> dict[str, Any]:
        """Another device for an image, which is filled with these bytes."""
        path = self.directory / f"target-{Path(image['path']).name}"
        path.write_bytes(fill * image["size"])
        return {**image, "device": str(path)}

    def dump(self, snapshot: str, image: dict[str, Any], restic: str = "restic") -> bytes:
        """The image as restic has it."""
        return self.restic("dump", snapshot, f"/{image['path']}", restic=restic)

    def check(self, restic: str = "restic") -> None:
        """Let restic check everything."""
        self.restic("check", "--read-data", restic=restic)


@contextmanager
def ignoring_hangup() -> Iterator[None]:
    """Ignore SIGHUP as the program does, so that 'restic unlock' does not end this process."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def sample(seed: int, most: int = 24 * 2**20) -> bytes:
    """The content of an image: random pieces, runs of zeros and repetitions, of a random size."""
    chance = random.Random(seed)
    size = chance.randrange(1, most)
    content = bytearray()
    while len(content) < size:
        length = chance.choice((chance.randrange(1, 2**20), 2**18, 2**21))
        kind = chance.randrange(4)
        if kind == 0:
            content += bytes(length * 4)
        elif kind == 1:
            content += b"volflow " * (length // 8)
        elif kind == 2 and content:
            start = chance.randrange(len(content))
            content += content[start : start + length]
        else:
            content += chance.randbytes(length)
    return bytes(content[:size])
