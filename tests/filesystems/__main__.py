"""``python -m tests.filesystems [--only REGEX] [--list] [--seed N] [--parallel N]``."""

from __future__ import annotations

import sys

from tests.filesystems.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
