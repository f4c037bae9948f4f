"""Which tasks, in which order."""
