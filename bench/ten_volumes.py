"""What volflow costs compared with cinder-backup: ten volumes in parallel."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench import place
from bench.fleet import Fleet, Spent, program
from bench.report import MB, Report, machine, say
from lab import Lab

MADE = """\
`tools/bench cinder-backup`: {count} volumes of {gib} GiB of the lab with {files} files and
{size:.0f} MB each, all different, on ext4; then {changed:.0f} MB of the files changed, then
nothing changed, then all restored to new volumes. `volflow backup create` backs up ten volumes in
parallel. Cinder's own cinder-backup, with the posix driver, receives all requests at once and runs
three in parallel, because it reads 2 GB into memory for each. Its first backups are full, the
others incremental. The programs take turns, in two labs one after the other, because a
cinder-backup has one kind of compression. CPU is user and system time of all processes: volflow,
restic, and the process that runs Cinder's API, scheduler, volume and backup service. Stored is the
growth of the repository's or the backups' files on disk. One restored volume of each program was
compared with its original, file by file. {restic}. {machine}."""


@dataclass(frozen=True)
class Scale:
    """The size of the benchmark."""

    count: int
    gib: int
    files: int
    size: int
    changed: int


FULL = Scale(count=10, gib=2, files=5_000, size=500 * MB, changed=20 * MB)
SHORT = Scale(count=2, gib=1, files=500, size=50 * MB, changed=2 * MB)
STEPS = ("full", "changed", "unchanged", "restore")


def run(*, short: bool) -> Report:
    """Run the benchmark; returns its report."""
    scale = SHORT if short else FULL
    found: dict[tuple[str, str], Spent] = {}
    with place.directory() as directory:
        # The volumes and their changes, both stores, and what cinder-backup restores.
        each = 2 * scale.size + 2 * scale.size + scale.gib * 2**30
        place.room(directory, scale.count * each)
        for compression in ("zlib", "zstd"):
            lab = Lab(directory / "lab")
            try:
                lab.up(backup=compression)
                found |= _beside(lab, directory / compression, scale, compression)
            finally:
                lab.down()
    restic = subprocess.run(["restic", "version"], capture_output=True, encoding="utf-8").stdout
    report = Report(
        "Ten volumes, compared with cinder-backup"
        if not short
        else "Two volumes, compared with cinder-backup",
        MADE.format(
            count=scale.count,
            gib=scale.gib,
            files=scale.files,
            size=scale.size / MB,
            changed=scale.changed / MB,
            restic=" ".join(restic.split()[:2]),
            machine=machine(),
        ),
        ("", "side", "wall s", "CPU s", "of it Cinder's", "stored MB"),
    )
    for step in STEPS:
        for side in ("zlib", "zstd", "volflow beside zlib", "volflow beside zstd"):
            spent = found[step, side]
            name = side if side.startswith("volflow") else f"cinder-backup, {side}"
            report.rows.append(
                (step, name, spent.wall, spent.cpu, spent.cpu - spent.own, spent.stored / MB)
            )
    return report


def _beside(
    lab: Lab, directory: Path, scale: Scale, compression: str
) -> dict[tuple[str, str], Spent]:
    """Run both programs in one lab."""
    directory.mkdir()
    say(f"filling {scale.count} volumes with {scale.size / MB:.0f} MB each")
    fleet = Fleet(
        lab, directory, count=scale.count, gib=scale.gib, files=scale.files, size=scale.size
    )
    mine, store = f"volflow beside {compression}", lab.directory.backups
    repository, configuration = directory / "repository", directory / "volflow.conf"
    (directory / "password").write_text("correct horse battery staple\n")
    configuration.write_text(
        f"[DEFAULT]\nstate_dir = {directory / 'state'}\n"
        f"[repository]\nlocation = {repository}\npassword_file = {directory / 'password'}\n"
    )
    # Ignore the user's own cloud and configuration.
    own = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "RESTIC_"))}
    environment = own | lab.environment | {"XDG_CONFIG_HOME": str(directory / "config")}
    subprocess.run(
        program(configuration, "repository", "init"),
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found: dict[tuple[str, str], Spent] = {}

    def tell(step: str, side: str, spent: Spent) -> None:
        found[step, side] = spent
        say(
            f"{step:9} {side:19} {spent.wall:7.1f} s, {spent.cpu:7.1f} s CPU, "
            f"{spent.stored / MB:7.1f} MB stored"
        )

    for step in STEPS[:3]:
        if step == "changed":
            fleet.change(scale.changed, seed=1000)
        for turn in ("theirs", "ours") if compression == "zlib" else ("ours", "theirs"):
            if turn == "theirs":
                tell(step, compression, fleet.cinder_backup(store, incremental=step != "full"))
            else:
                command = program(configuration, "backup", "create", *fleet.ids)
                tell(step, mine, fleet.volflow(repository, command, environment))
    original = fleet.digest(fleet.ids[0])
    tell("restore", compression, fleet.cinder_restore(store))
    _compare(fleet, original)
    command = program(configuration, "restore", "create", *fleet.ids, "--new", "--yes")
    tell("restore", mine, fleet.volflow(repository, command, environment))
    _compare(fleet, original)
    shutil.rmtree(directory)
    return found


def _compare(fleet: Fleet, original: str) -> None:
    """Check that a restored volume equals the first original, and remove all restored ones."""
    if not any(fleet.digest(volume_id) == original for volume_id in fleet.others()):
        raise RuntimeError("No restored volume has the files of the first one.")
    fleet.remove_others()
