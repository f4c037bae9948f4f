"""``python -m tests.increments [MINUTES] [--seed N]``: back up volumes that are written to."""

from __future__ import annotations

import sys

from tests.increments.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
