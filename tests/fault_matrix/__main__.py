"""``python -m tests.fault_matrix``: run and print the fault matrix."""

from __future__ import annotations

import sys

from tests.fault_matrix.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
