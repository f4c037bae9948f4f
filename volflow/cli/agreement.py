"""Asking a person to agree to what cannot be undone."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from volflow import UsageError
from volflow.printable import printable


def agree(lines: Sequence[str], otherwise: str = "") -> None:
    """Show what will be lost, if anything, and ask a person to agree.

    :param otherwise: what to do instead of --yes
    :raises UsageError: the person does not agree, or there is no terminal
    """
    if not lines:
        return
    print("\n".join(map(printable, lines)), file=sys.stderr)
    if not sys.stdin.isatty():
        raise UsageError(f"There is no terminal to ask for confirmation: use --yes{otherwise}.")
    print("Continue? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        # Ctrl-D, or the end of the input, is no answer.
        print(file=sys.stderr)
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was done.")
