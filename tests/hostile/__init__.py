"""Hostile tenants: what people do to their volumes, at random, while runs work on them.

``python -m tests.hostile --help``.
"""
