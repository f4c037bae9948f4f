"""Having a person agree to what cannot be undone."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from volflow import UsageError
from volflow.printable import printable


def agree(lines: Sequence[str], otherwise: str = "") -> None:
    """Show what will be lost, if anything, and have a person agree.

    :param otherwise: what to do instead of saying --yes
    :raises UsageError: nobody is there, or does not agree
    """
    if not lines:
        return
    print("\n".join(map(printable, lines)), file=sys.stderr)
    if not sys.stdin.isatty():
        raise UsageError(f"Nobody is there to agree: say --yes{otherwise}.")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was done.")
