"""How a file of this package ends that runs as a program of its own.

Such a program has nothing but the standard library and cannot import this module: it loads it by
its path, ``runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def line(error: OSError) -> str:
    """An error in one line: ``PATH: reason``, with control characters escaped."""
    reason = error.strerror or str(error) or type(error).__name__
    name = error.filename
    # It is a number where a directory was given as a descriptor.
    where = f"{os.fsdecode(name) or '/'}: " if isinstance(name, str | bytes) else ""
    return _UNPRINTABLE.sub(lambda each: ascii(each[0])[1:-1], where + reason)


def run(main: Callable[..., int | None]) -> NoReturn:
    """Run the program with the arguments of the command line, and end this process.

    An :class:`OSError` is one line on the standard error, and exit status 1. Its ``filename`` must
    be the whole path in the tree.
    """
    try:
        status = main(*sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        print(line(error), file=sys.stderr)
        status = 1
    sys.exit(status or 0)
