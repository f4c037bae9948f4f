"""The fault matrix: every fault at every step, and what is left and lost after each.

``python -m matrix --help``, from ``tests/`` or with it on the path; docs/faults tells what it shows.
"""
