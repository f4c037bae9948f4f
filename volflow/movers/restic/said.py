"""What restic says of itself, apart from what it says of the files of volumes.

Whoever owns a volume chooses the names of its files, and restic prints them: the words of a name
must never be taken for the words of restic.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# restic 0.14 to 0.19 says these lines of itself: the last error, which 0.14 does not always call
# fatal; a request to the storage that it repeats; what its program for SFTP has said.
_OWN = re.compile(
    r'Fatal: |(invalid id|loading (tree for )?snapshot) "[0-9a-f]*"|creating restorer failed: |'
    r"unable to create lock in backend|subprocess |"
    r"(Save|Load|Stat|List|Remove|Delete|Open|Test)(\([^)]*\))? (failed|returned error)"
)
# A restore says this of each file that it could not write. What follows can contain such names,
# and a name can contain the end of a line.
_OF_A_FILE = "ignoring error for "
# A line of a stack of Go, after an error that is not "Fatal: ".
_STACK = re.compile(r"(github\.com|golang\.org|main|runtime)[./]\S+$")
# How Go's runtime begins when a program crashes, and its exit status.
_CRASH, CRASHED = re.compile(r"panic: |fatal error: "), 2
# restic 0.17 and newer, with --json.
_LAST_ERROR = "exit_error"
# The paths of volumes in a backup, as volflow stores them.
_IN_A_BACKUP = re.compile(r"(?<![\w/])/?regions/\d")
_QUOTED_PATH, _QUOTED = re.compile(r'"/.*"'), re.compile(r'"[^"]*"')
_URL = re.compile(r'https?://[^\s"]*')
_REASONS = {
    os.strerror(number).lower(): number
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
}


@dataclass(frozen=True)
class Line:
    """A line that restic says of itself.

    :ivar text: as restic printed it
    :ivar words: without names of files; only these mean something
    """

    text: str
    words: str

    @property
    def reason(self) -> int:
        """The number of the error of the system that ends it; 0 if none does."""
        return _REASONS.get(self.words.rpartition(": ")[2].strip().lower(), 0)

    def names(self, path: Path) -> bool:
        """Whether it is about something below a path."""
        return f"{path}/" in self.words


class Said:
    """The error output of restic.

    :param errors: its lines
    :param volumes: directories below which volumes are mounted
    """

    def __init__(self, errors: Sequence[str], volumes: Sequence[Path] = ()) -> None:
        self._errors = [line.rstrip() for line in errors]
        self._volumes = [str(path) for path in volumes]
        self.own = list(self._own())

    @property
    def of_files(self) -> bool:
        """Whether a restore could not write some files."""
        return any(line.startswith(_OF_A_FILE) for line in self._errors)

    @property
    def seems_full(self) -> bool:
        """Whether a restore seems to have found no space. A name can look so: it proves nothing."""
        ends = (line.rpartition(": ")[2] for line in self._errors if line.startswith(_OF_A_FILE))
        return any(_REASONS.get(end) in (errno.ENOSPC, errno.EDQUOT) for end in ends)

    @property
    def fatal(self) -> str:
        """The last error, as restic printed it; empty if there is none."""
        found = [line for line in self._lines(self._errors) if line.startswith("Fatal: ")]
        return found[-1] if found else ""

    @property
    def crash(self) -> str:
        """What Go's runtime said when restic crashed; empty if it did not."""
        return next((line for line in self._errors if _CRASH.match(line)), "")

    @property
    def shown(self) -> str:
        """The end of it, for people."""
        told = [
            line
            for line in self._lines(self._errors)
            if line and not line.startswith("\t") and not _STACK.match(line)
        ]
        last = told[-5:]
        return "\n".join([self.fatal, *last] if self.fatal and self.fatal not in last else last)

    def _own(self) -> Iterator[Line]:
        before = self._errors
        for number, line in enumerate(self._errors):
            if line.startswith(_OF_A_FILE):
                before = self._errors[:number]
                break
        lines = list(self._lines(before))
        for number, line in enumerate(lines):
            if line.startswith("\t") or _STACK.match(line):
                continue
            if _OWN.match(line) or any(map(_STACK.match, lines[number + 1 : number + 2])):
                yield Line(line, self._words(line))

    @staticmethod
    def _lines(errors: Sequence[str]) -> Iterator[str]:
        """The lines without those in JSON about files."""
        for line in errors:
            if not line.startswith("{"):
                yield line
                continue
            try:
                message: Any = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict) and message.get("message_type") == _LAST_ERROR:
                yield from str(message.get("message", "")).splitlines()

    def _words(self, line: str) -> str:
        """The line without the names that somebody else can choose."""
        # A path can contain anything, so what follows it may belong to it.
        for path in self._volumes:
            line = line.partition(f"{path}/")[0]
        if found := _IN_A_BACKUP.search(line):
            line = line[: found.start()]
        return _URL.sub("", _QUOTED.sub("", _QUOTED_PATH.sub("", line)))
