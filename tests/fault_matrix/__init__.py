"""The fault matrix: every fault at every step, and the leaks and losses after each.

``python -m tests.fault_matrix --help``.
"""
