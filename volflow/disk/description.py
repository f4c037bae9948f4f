"""Values of a description that become parts of the options of programs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from volflow.errors import DiskError

_WORD = re.compile(r"[\w.:-]+")


def word(values: Mapping[str, str], name: str) -> str:
    """A value that is one word, which cannot add an option.

    A description comes from a repository, and whoever has its password can write anything there.

    :raises DiskError: it is no word
    """
    if not _WORD.fullmatch(values[name]):
        raise DiskError(
            f"The backup describes a file system that cannot exist: its {name} is {values[name]!r}."
        )
    return values[name]
