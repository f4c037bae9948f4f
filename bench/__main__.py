"""``python -m bench BENCH``: exit status 0 if every target is met, 1 if not, 2 if it cannot run."""

from __future__ import annotations

import argparse
import os
import sys

from bench.report import Report


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tools/bench", description="What volflow costs, as Markdown tables."
    )
    benches = parser.add_subparsers(dest="bench", required=True, metavar="BENCH")
    for name, text in (
        ("by-hand", "one volume, compared with a script that does the same"),
        ("orchestration", "volflow's own part alone: 10, 100, 1,000 volumes"),
        ("cinder-backup", "ten volumes, compared with cinder-backup"),
        ("image", "an image, compared with the bare loop and with restic"),
        ("all", "one after the other"),
    ):
        bench = benches.add_parser(name, help=text, description=text)
        bench.add_argument(
            "--short", action="store_true", help="a small version that takes minutes"
        )
        if name in ("orchestration", "image", "all"):
            bench.add_argument(
                "--rounds",
                type=int,
                default=3,
                metavar="N",
                help="number of runs of each case (default: 3)",
            )
    arguments = parser.parse_args()
    if os.geteuid() != 0 and arguments.bench != "orchestration":
        print("This needs root: the lab and the backups mount volumes.", file=sys.stderr)
        return 2
    names = (
        ["orchestration", "by-hand", "cinder-backup", "image"]
        if arguments.bench == "all"
        else [arguments.bench]
    )
    reports = []
    for name in names:
        reports.append(_run(name, arguments))
        print(f"\n{reports[-1]}", flush=True)
    return 0 if all(report.met for report in reports) else 1


def _run(name: str, arguments: argparse.Namespace) -> Report:
    # Imported only when it runs, so that it does not need the libraries of the others.
    if name == "orchestration":
        from bench import orchestration

        return orchestration.run(short=arguments.short, rounds=arguments.rounds)
    if name == "by-hand":
        from bench import one_volume

        return one_volume.run(short=arguments.short)
    if name == "image":
        from bench import image

        return image.run(short=arguments.short, rounds=arguments.rounds)
    from bench import ten_volumes

    return ten_volumes.run(short=arguments.short)


if __name__ == "__main__":
    sys.exit(main())
