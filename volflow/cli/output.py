"""The standard output, which may not take what is written to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class OutputError(Exception):
    """The standard output did not take what was written to it."""


@contextmanager
def written() -> Iterator[None]:
    """Tell an error of the standard output, to which the block writes, from others.

    :raises OutputError: not all could be written
    """
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads has enough
    except OSError as error:
        if error.filename is not None:
            raise
        raise OutputError(f"The output could not be written: {error.strerror}.") from error


def discard() -> None:
    """Discard what could not be written: Python would try it again at its end, and complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
