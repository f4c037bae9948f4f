"""Flows: which tasks run for a volume, and in which order."""
