"""The command line: ``python -m lab up | down | status | env``."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from lab import Lab, LabError, loop, mount, pool, settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    asked = _parser().parse_args(arguments)
    lab = Lab(asked.dir, say=lambda text: print(text, file=sys.stderr))
    try:
        if asked.command == "up":
            _up(lab, asked)
        elif asked.command == "down":
            lab.down()
            print(f"nothing of a lab is left in {lab.directory.path}")
        elif asked.command == "status":
            _status(lab)
        else:
            lab.pid  # noqa: B018 - raises if the lab is not running
            for name, value in lab.environment.items():
                print(f"export {name}={shlex.quote(value)}")
    except (LabError, loop.LoopError, mount.MountError, pool.PoolError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description="A real Cinder on this machine, to try things out."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("up", "start a lab and wait until it is ready"),
        ("down", "end a lab and remove everything that belongs to it"),
        ("status", "show the state of a lab; exit status 1 if it is not running"),
        ("env", 'print variables for the shell: eval "$(python -m lab env)"'),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--dir",
            type=Path,
            default=settings.default_directory(),
            help="the lab's own directory (default: %(default)s)",
        )
        if name == "up":
            command.add_argument(
                "--keystone",
                action="store_true",
                help="also start a real Keystone, with the projects alpha, beta and admin",
            )
            command.add_argument(
                "--size",
                type=_size,
                metavar="GIB",
                default=settings.DEFAULT_SIZE_GIB,
                help="size of the pool, a sparse file (default: %(default)s)",
            )
            command.add_argument(
                "--direct-io",
                action="store_true",
                help="use direct I/O for the volumes' loop devices",
            )
            command.add_argument(
                "--backup",
                choices=("zlib", "zstd", "bz2", "none"),
                help="also start cinder-backup, with this compression",
            )
            command.add_argument(
                "--token-seconds",
                type=int,
                metavar="N",
                help="lifetime of Keystone's tokens (default: an hour)",
            )
    return parser


def _size(text: str) -> int:
    if not 1 <= int(text) <= 1024 * 1024:
        raise argparse.ArgumentTypeError("from 1 GiB to 1 PiB")
    return int(text)


def _up(lab: Lab, asked: argparse.Namespace) -> None:
    began = time.monotonic()
    lab.up(
        keystone=asked.keystone,
        size_gib=asked.size,
        direct_io=asked.direct_io,
        token_seconds=asked.token_seconds,
        backup=asked.backup,
    )
    where = shlex.quote(str(lab.directory.path))
    print(f"the lab is up after {time.monotonic() - began:.1f} s: {lab.endpoint}")
    print("next:")
    print(f'  eval "$(python -m lab env --dir {where})"')
    print("  volflow doctor")
    print(f"  python -m lab down --dir {where}")


def _status(lab: Lab) -> None:
    status = lab.status()
    print(f"process   {status.pid}")
    print(f"cinder    {status.endpoint}")
    if status.keystone:
        print(f"keystone  {status.keystone}")
    for service in status.services:
        print(
            f"service   {service['binary']:16} {service['host']:10} "
            f"{service['zone']:8} {service['state']}"
        )
    print(
        f"pool      {status.pool.free / pool.GIB:.1f} of {status.pool.total / pool.GIB:.0f} GiB "
        f"free, {status.pool.on_disk / pool.GIB:.2f} GiB on disk"
    )


if __name__ == "__main__":
    sys.exit(main())
