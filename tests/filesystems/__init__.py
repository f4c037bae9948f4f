"""File systems of every kind that the tools of this host make, backed up and made again.

``python -m tests.filesystems`` runs all of them.
"""
