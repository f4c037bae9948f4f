"""What the mover of images costs: compared with the bare loop, and with restic."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import image_loop, place
from bench.measure import Cost, measure
from bench.report import MB, Report, Target, machine, say

MADE = """\
`tools/bench image`: an image of {size:.1f} GiB with {data:.1f} GiB of data (of files of this host;
the rest is zero) on a loop device, and a local repository. "Bare loop" is
`bench/image_loop.py`: reads with O_DIRECT, BLAKE3, zstd of the same level, AES-256-CTR, in two
threads, and stores nothing; unchanged, it reads and hashes. "restic" is `restic backup --stdin`
from the device, and `restic dump` to it. 1 % of the pages of 4 KiB at random are changed for
"scattered". CPU is user and system time. Medians of {rounds} rounds; in each round one after the
other. {restic}. {machine}."""

# The targets.
FULL, UNCHANGED, RESTIC, SCATTERED, DUMP, MEMORY = 1.3, 1.5, 0.5, 0.6, 1 / 1.5, 256.0
_PAGE = 4096
_NATIVE = (sys.executable, "-I", "-B", "-m", "volflow.movers.native.program")


@dataclass
class Case:
    """The costs of one case by each way, in rounds."""

    name: str
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    stored: dict[str, list[int]] = field(default_factory=dict)

    def add(self, way: str, cost: Cost, stored: int = 0) -> None:
        self.costs.setdefault(way, []).append(cost)
        self.stored.setdefault(way, []).append(stored)
        say(f"{self.name:9} {way:9} {cost.wall:6.2f} s {cost.cpu:6.2f} s CPU {stored / MB:8.1f} MB")

    def cpu(self, way: str) -> float:
        return statistics.median(cost.cpu for cost in self.costs[way])

    def ratio(self, way: str, other: str) -> float:
        """The median of the ratios of the rounds."""
        pairs = zip(self.costs[way], self.costs[other], strict=True)
        return statistics.median(one.cpu / two.cpu for one, two in pairs)


class Image:
    """The image, its loop device, and repositories.

    :param directory: for all of it
    """

    def __init__(self, directory: Path, size: int, data: int) -> None:
        self._directory = directory
        self.file = directory / "image"
        self.size = size
        _fill(self.file, size, data)
        self.device = _loop(self.file)
        self.target_file = directory / "target"
        self.target_file.touch()
        os.truncate(self.target_file, size)
        self.target = _loop(self.target_file)
        self.environment = {**os.environ, "RESTIC_PASSWORD": "bench"}
        self.snapshots: dict[str, str] = {}
        (directory / "manifest.json").write_text("{}")

    def close(self) -> None:
        for device in (self.device, self.target):
            subprocess.run(["losetup", "--detach", device], check=True)

    def restic(self, way: str, *command: str) -> str:
        return subprocess.run(
            ["restic", "--no-cache", "--quiet", "--repo", str(self.repository(way)), *command],
            env=self.environment,
            cwd=self._directory,
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout

    def repository(self, way: str) -> Path:
        return self._directory / f"repository-{way}"

    def begin(self) -> None:
        """Make empty repositories."""
        for way in ("native", "restic"):
            shutil.rmtree(self.repository(way), ignore_errors=True)
            self.restic(way, "init")
        shutil.rmtree(self._directory / "maps", ignore_errors=True)

    def stored(self, way: str) -> int:
        """The bytes of a repository."""
        return sum(path.stat().st_size for path in self.repository(way).glob("data/*/*"))

    def save(self, way: str) -> tuple[Cost, int]:
        """Store the image; returns the cost, and the bytes that were stored."""
        before = self.stored(way)
        if way == "native":
            snapshot = self._manifest()
            cost = self._native("save", snapshot)
            self.snapshots[way] = self._newest(way)
        else:
            command = shutil.which("restic") or "restic"
            cost = measure(
                [
                    *("sh", "-c", 'exec "$@" <"$0"', self.device),
                    *(command, "--no-cache", "--repo", str(self.repository(way)), "--quiet"),
                    *("backup", "--stdin", "--stdin-filename", "image"),
                ],
                self.environment,
            )
            self.snapshots[way] = self._newest(way)
        return cost, self.stored(way) - before

    def restore(self, way: str) -> Cost:
        """Write the image to an empty device."""
        subprocess.run(["blkdiscard", self.target], check=True)
        if way == "native":
            cost = self._native("restore", self.snapshots[way], device=self.target, blank=True)
        else:
            cost = measure(
                [
                    *("sh", "-c", 'exec "$@" >"$0"', self.target),
                    *("restic", "--no-cache", "--repo", str(self.repository(way)), "--quiet"),
                    *("dump", self.snapshots[way], "/image"),
                ],
                self.environment,
            )
        if subprocess.run(["cmp", self.device, self.target]).returncode:
            raise RuntimeError(f"{way} has restored something else.")
        return cost

    def change(self) -> None:
        """Change 1 % of the pages at random."""
        chance = random.Random(1)
        with open(self.device, "r+b") as file:
            for page in chance.sample(range(self.size // _PAGE), self.size // _PAGE // 100):
                file.seek(page * _PAGE)
                file.write(chance.randbytes(_PAGE))
            os.fsync(file.fileno())

    def drop(self) -> None:
        """Drop the page cache, which only buffered reads would use."""
        subprocess.run(["blockdev", "--flushbufs", self.device, self.target], check=True)

    def _manifest(self) -> str:
        self.restic("native", "backup", "--force", "manifest.json")
        return self._newest("native")

    def _newest(self, way: str) -> str:
        found: list[dict[str, Any]] = json.loads(self.restic(way, "snapshots", "--json"))
        return str(max(found, key=lambda one: one["time"])["id"])

    def _native(self, action: str, snapshot: str, *, device: str = "", **more: Any) -> Cost:
        key = json.loads(self.restic("native", "cat", "masterkey"))
        job = {
            "action": action,
            "repository": str(self.repository("native")),
            "key": key,
            "snapshot": snapshot,
            "images": [
                {
                    "path": "regions/0.img",
                    "device": device or self.device,
                    "start": 0,
                    "size": self.size,
                }
            ],
            "maps": str(self._directory / "maps"),
            "volume": "volume",
            "time": "2026-11-01T12:00:00Z",
            **more,
        }
        path = self._directory / "job"
        path.write_text(json.dumps(job))
        return measure(["sh", "-c", 'exec "$@" <"$0"', str(path), *_NATIVE], self.environment)


def _loop(path: Path) -> str:
    made = subprocess.run(
        ["losetup", "--find", "--show", "--direct-io=on", str(path)],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return made.stdout.strip()


def _fill(path: Path, size: int, data: int) -> None:
    """Write an image: stretches of what this host's files contain, with zeros between them."""
    places = (Path("/usr/bin"), Path("/usr/lib"), Path("/usr/share"))
    sources = sorted(
        one
        for place in places
        for one in place.rglob("*")
        if one.is_file() and not one.is_symlink() and one.stat().st_size > 2**14
    )
    chance = random.Random(0)
    left = data
    with open(path, "wb") as file:
        file.truncate(size)
        while left > 0:
            for _ in range(64):
                content = chance.choice(sources).read_bytes()[: 4 * 2**20]
                # Other letters for the same words: it compresses as well, and nothing is there
                # twice.
                letters = list(range(256))
                chance.shuffle(letters)
                content = content.translate(bytes(letters))[:left]
                file.write(content)
                left -= len(content)
            file.seek(min(size - left, file.tell() + chance.randrange(2 * (size - data) // 40)))


def run(*, short: bool, rounds: int) -> Report:
    """Run the benchmark; returns its report."""
    size, data = (512 * 2**20, 333 * 2**20) if short else (4 * 2**30, 26 * 2**30 // 10)
    full, unchanged, scattered, restored = (
        Case(name) for name in ("full", "unchanged", "scattered", "restore")
    )
    with place.directory() as directory:
        place.room(directory, 6 * size)
        say(f"making an image of {size} bytes")
        image = Image(directory, size, data)
        try:
            for _ in range(rounds):
                image.begin()
                for case in (full, unchanged, scattered):
                    if case is scattered:
                        image.change()
                    if case is not scattered:
                        case.add("bare loop", _bare(image, unchanged=case is unchanged))
                    for way in ("native", "restic"):
                        image.drop()
                        case.add(way, *image.save(way))
                for way in ("native", "restic"):
                    image.drop()
                    restored.add(way, image.restore(way))
                image.restic("native", "check", "--read-data")
        finally:
            image.close()
    return _report(size, data, rounds, [full, unchanged, scattered, restored])


def _bare(image: Image, *, unchanged: bool) -> Cost:
    options = ["--unchanged"] if unchanged else []
    image.drop()
    return measure(
        [sys.executable, "-B", image_loop.__file__, image.device, *options], image.environment
    )


def _report(size: int, data: int, rounds: int, cases: list[Case]) -> Report:
    restic = subprocess.run(["restic", "version"], capture_output=True, encoding="utf-8").stdout
    full, unchanged, scattered, restored = cases
    report = Report(
        "Images, compared with the bare loop and with restic",
        MADE.format(
            size=size / 2**30,
            data=data / 2**30,
            rounds=rounds,
            restic=" ".join(restic.split()[:2]),
            machine=machine(),
        ),
        (
            "",
            "bare loop",
            "native",
            "restic",
            "to bare loop",
            "to restic",
            "native MB",
            "restic MB",
        ),
    )
    for case in cases:
        bare = "bare loop" in case.costs
        report.rows.append(
            (
                f"{case.name}, CPU s",
                case.cpu("bare loop") if bare else "-",
                case.cpu("native"),
                case.cpu("restic"),
                case.ratio("native", "bare loop") if bare else "-",
                case.ratio("native", "restic"),
                statistics.median(case.stored["native"]) / MB,
                statistics.median(case.stored["restic"]) / MB,
            )
        )
    peak = max(cost.memory for case in cases for cost in case.costs["native"]) / MB
    stored = [statistics.median(scattered.stored[way]) for way in ("native", "restic")]
    report.targets += [
        Target("full, CPU to the bare loop", full.ratio("native", "bare loop"), FULL),
        Target(
            "unchanged, CPU to the bare loop", unchanged.ratio("native", "bare loop"), UNCHANGED
        ),
        Target("full, CPU to restic", full.ratio("native", "restic"), RESTIC),
        Target("unchanged, CPU to restic", unchanged.ratio("native", "restic"), RESTIC),
        Target("scattered, bytes stored to restic", stored[0] / stored[1], SCATTERED),
        Target("restore, CPU to restic dump", restored.ratio("native", "restic"), DUMP),
        Target("own memory, peak MB", peak, MEMORY),
    ]
    return report
