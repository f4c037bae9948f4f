"""``python -m tests.fault_matrix``: run the fault matrix, and print it."""

from __future__ import annotations

import sys

from tests.fault_matrix.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
