"""The command line of the gallery.

Each disk becomes a volume, which is backed up, and restored to a new volume, in place and to a
larger one, each with a verification. Then its table, the files of its file systems and the bytes of
its images are compared. Nothing remains in the cloud or on the host.
"""

from __future__ import annotations

import argparse
import logging
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.gallery.batch import Batch, Verdict
from tests.gallery.catalogue import exhibits
from tests.gallery.exhibit import Exhibit, Region
from volflow.disk.layout import Role

# Disks that are backed up and restored together, and how many of them at a time.
BATCH, AT_A_TIME = 8, 3


def main(arguments: Sequence[str]) -> int:
    """Parse the command line; return 0 if every disk came back."""
    parser = argparse.ArgumentParser(prog="gallery", description="Try all kinds of disks.")
    parser.add_argument("--only", default="", metavar="REGEX", help="disks with such a name")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="write what became of them, for docs/"
    )
    parser.add_argument("--list", action="store_true", help="print the disks, and try none")
    options = parser.parse_args(arguments)
    chosen = [one for one in exhibits() if re.search(options.only, str(one))]
    if options.list:
        print("\n".join(map(str, chosen)))
        return 0
    # A signal ends the lab too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    began, verdicts = time.monotonic(), []
    for verdict in _in_a_lab(chosen):
        verdicts.append(verdict)
        print(
            "\n".join([str(verdict), *(f"      {each}" for each in verdict.troubles)]), flush=True
        )
    if options.table:
        options.table.write_text(_table(verdicts))
    bad = sum(bool(each.troubles) for each in verdicts)
    skipped = sum(bool(each.skipped) for each in verdicts)
    minutes = (time.monotonic() - began) / 60
    print(f"{minutes:.1f} minutes: {len(verdicts)} disks, {skipped} cannot be made, {bad} bad")
    return 1 if bad or len(verdicts) != len(chosen) else 0


def _table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as reStructuredText."""
    lines = [
        ".. list-table:: Each was restored to a new volume, in place and to a larger volume",
        "   :header-rows: 1",
        "   :widths: 32 52 16",
        "",
        "   * - Disk",
        "     - Stored as",
        "     - Result",
    ]
    for each in verdicts:
        result = "not made here" if each.skipped else "**differs**" if each.troubles else "equal"
        shown = "; ".join(map(_shown, each.exhibit.regions))
        lines += [f"   * - {each.exhibit}", f"     - {shown}", f"     - {result}"]
    return "\n".join([*lines, ""])


def _shown(region: Region) -> str:
    what = {
        Role.PARTITION: f"partition {region.number}",
        Role.VOLUME: region.name,
        Role.WHOLE: "the volume",
    }.get(region.role, str(region.role))
    return f"{what}{f' ({region.type})' if region.type else ''}: {region.stored}"


def _in_a_lab(chosen: Sequence[Exhibit]) -> Iterator[Verdict]:
    from lab import Lab, settings
    from tests.support.auditor import Api
    from tests.support.site import environment_of, new_site

    # It warns of every protocol that this host does not have.
    logging.getLogger("os_brick").setLevel(logging.ERROR)
    directory = Path(tempfile.mkdtemp(prefix="volflow-gallery-"))
    try:
        with Lab(directory / "lab") as lab, environment_of(lab):
            api = Api.noauth(lab.endpoint, settings.USER, settings.PROJECT)
            with new_site(directory, lab, api) as site:
                yield from on_site(site, chosen)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def on_site(site: Any, chosen: Sequence[Exhibit]) -> Iterator[Verdict]:
    """The verdicts on disks, in batches on one site."""
    for first in range(0, len(chosen), BATCH):
        with site.volflow(backup__parallel=AT_A_TIME) as volflow:
            verdicts = Batch(site, volflow).run(chosen[first : first + BATCH])
        verdicts[0].troubles += [f"its batch has left: {each}" for each in site.findings()]
        yield from verdicts
