"""``python -m tests.hostile [MINUTES] [--seed N]``: tenants disturb runs, at random."""

from __future__ import annotations

import sys

from tests.hostile.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
