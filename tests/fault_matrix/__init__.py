"""The fault matrix: every fault at every step, and what is left and lost after each.

``python -m tests.fault_matrix --help``.
"""
